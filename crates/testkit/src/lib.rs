//! Doubles for tests: a clock that is moved by hand, a body that follows a script, seeded traffic.
//!
//! | type | job |
//! |---|---|
//! | [`ManualClock`] | stands still until the test moves it |
//! | [`ScriptedBody`] | yields the frames, waits, errors and panics that the test wrote down |
//! | [`Traffic`], [`Fate`], [`FatedService`] | requests that come to random ends, the same for the same seed |
//! | [`interleavings`] | all orders in which several requests can take their steps |

mod clock;
mod interleavings;
mod scripted_body;
mod traffic;

pub use clock::ManualClock;
pub use interleavings::interleavings;
pub use scripted_body::{ScriptedBody, ScriptedError, Step};
pub use traffic::{Fate, FatedFuture, FatedService, Traffic};
