//! Serves a router on a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::Error;

/// A service that answers until this is dropped.
pub struct Server {
    /// Where a client on this machine reaches it.
    pub address: SocketAddr,
    task: AbortHandle,
}

/// Starts to serve.
pub async fn start(listen: SocketAddr, app: Router) -> Result<Server, Error> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("can't listen on {listen}: {error}"))?;
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    // Else the end of a response may wait until the client has acknowledged its begin.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let task = tokio::spawn(axum::serve(listener, app).into_future()).abort_handle();
    Ok(Server { address, task })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
