//! The layer that assigns, times and records in one future: what most services use.

pub(crate) mod body;
mod future;
mod layer;
mod service;

pub use body::{Extent, HeadOnly, MeasuredBody, WholeBody};
pub use future::ResponseFuture;
pub use layer::ExperimentLayer;
pub use service::ExperimentService;
