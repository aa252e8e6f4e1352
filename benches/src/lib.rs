//! What the request path costs, beside a floor, its peers and a layer that does nothing.
//!
//! Every program of this package runs the very same [`cases`]: `instructions` under callgrind,
//! `cost` by the clock, `scaling` on two threads, and `gates` against the numbers that a change must
//! not break. The README tells how to run and how to read them.

pub mod allocation;
pub mod allocator;
pub mod callgrind;
pub mod cases;
pub mod clock;
pub mod cost;
pub mod document;
pub mod end_to_end;
pub mod growth;
pub mod memory;
pub mod rounds;
pub mod scaling;
pub mod scraping;
pub mod snapshots;
pub mod span;
pub mod svg;
pub mod table;
pub mod tables;
pub mod target;
