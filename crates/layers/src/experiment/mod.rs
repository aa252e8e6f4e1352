//! The layer that assigns, times and records in one future: what most services use.

mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::ExperimentLayer;
pub use service::ExperimentService;
