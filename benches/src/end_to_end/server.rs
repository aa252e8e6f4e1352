//! The process that serves.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::CONTROL;
use crate::cases;

/// As often as axum-prometheus has it.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves every case that has a router, until the process is ended. Prints where its thread's
/// account is, then the name and the port of each router, then an empty line.
///
/// # Panics
///
/// When a server does.
pub fn serve() -> io::Result<()> {
    let mut routers: Vec<_> =
        cases::all().iter().filter_map(|case| Some((case.name.clone(), case.router()?))).collect();
    let bare = routers.iter().find(|(name, _)| name == "axum/bare").map(|(_, bare)| bare.clone());
    routers.extend(bare.map(|bare| (CONTROL.to_owned(), bare)));
    // What users have a task for; on another thread, whose time does not count.
    thread::spawn(|| {
        let cases = cases::all();
        loop {
            thread::sleep(UPKEEP);
            cases.iter().for_each(cases::Case::upkeep);
        }
    });
    let account = std::fs::read_link("/proc/thread-self")?;
    println!("/proc/{}/schedstat", account.display());
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut serving = Vec::new();
        for (name, router) in routers {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            println!("{} {name}", listener.local_addr()?.port());
            serving.push(tokio::spawn(async { axum::serve(listener, router).await }));
        }
        println!();
        for server in serving {
            server.await.expect("a server does not panic")?;
        }
        Ok(())
    })
}
