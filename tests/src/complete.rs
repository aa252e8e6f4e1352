//! Futures without a runtime.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future until it is ready: at once, or after it woke itself.
pub fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
