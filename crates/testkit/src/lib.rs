//! Doubles for tests: a clock that is moved by hand, a body that follows a script.
//!
//! | type | job |
//! |---|---|
//! | [`ManualClock`] | stands still until the test moves it |
//! | [`ScriptedBody`] | yields the frames, waits, errors and panics that the test wrote down |

mod clock;
mod scripted_body;

pub use clock::ManualClock;
pub use scripted_body::{ScriptedBody, ScriptedError, Step};
