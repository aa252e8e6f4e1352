//! One request on one stack to one end, over a socket.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::ending::Ending;
use crate::handler::Handler;
use crate::hush::hush;
use crate::stack::{Stack, Subject};
use crate::wire::{Answer, Wire};

/// Longest time that anything may take: much more than it does.
const BOUND: Duration = Duration::from_secs(20);

/// Serves, sends the request, waits until `settled` while the server goes on and the connection is
/// open, and then takes all down. Whether it settled in time comes beside what the client saw.
///
/// # Panics
///
/// When the request takes longer than 20 s.
pub fn play(
    stack: Stack,
    ending: Ending,
    subject: &Subject,
    settled: impl Fn() -> bool,
    patience: Duration,
) -> (Answer, bool) {
    hush();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (handler, arrived) = Handler::new(ending);
        let address = stack.serve(ending, handler, subject).await;
        let mut wire = match (stack, ending) {
            (Stack::TonicUnary, Ending::DropInBody) => {
                Wire::connect_with_window(address, true, 0).await
            }
            _ => Wire::connect(address, stack.is_http2()).await,
        };
        let answer = timeout(BOUND, wire.play(stack, ending, &arrived)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{stack}, {ending}: no end in {BOUND:?}"));
        let settled = timeout(patience, until(&settled)).await.is_ok();
        (answer, settled)
    })
}

/// Asks again and again, because the client has its answer a moment before the server has dropped
/// the request.
async fn until(settled: &impl Fn() -> bool) {
    while !settled() {
        sleep(Duration::from_millis(1)).await;
    }
}
