//! What the examples need beside the experiment: a catalogue in SQLite, its HTTP interface, and a
//! client that sends load.
//!
//! The examples themselves are the files beside `Cargo.toml`. Start with `cached_whitelist.rs`.
//!
//! | module | job |
//! |---|---|
//! | [`catalogue`] | generates the data |
//! | [`queries`] | asks them, blocking |
//! | [`database`] | asks them from async code, with a small pool of connections |
//! | [`cache`] | a cache with expiry, whose entries are reloaded once |
//! | [`api`] | requests and responses of the routes, but not what an experiment is about |
//! | [`server`] | serves a router on a socket |
//! | [`monitoring`] | `/metrics`, `/experiments/snapshot.json`, `/experiments/report.json` |
//! | [`schedule`] | which requests arrive when |
//! | [`load`] | sends them, never waiting for a response |
//! | [`tally`] | what the client measured, an independent witness |
//! | [`progress`] | shows it while it runs |
//! | [`closing`] | what is printed after the report |
//! | [`options`] | the command line |

pub mod api;
pub mod cache;
pub mod catalogue;
pub mod closing;
pub mod database;
pub mod load;
pub mod monitoring;
pub mod options;
pub mod progress;
pub mod queries;
pub mod schedule;
pub mod server;
pub mod tally;

/// What ends an example early, as text for the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
