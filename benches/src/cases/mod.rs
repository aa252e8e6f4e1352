//! The services that all programs measure, by name.

mod axum;
mod case;
mod floor;
pub mod many;
mod no_op;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod tower;

pub use case::{Case, ROUTES, Requests, Service};

/// All cases: `tower/…` on a plain service, `axum/…` in a router. The first of each platform is
/// `bare`, which all others of the platform are compared with.
pub fn all() -> Vec<Case> {
    let mut cases = tower::cases();
    cases.extend(axum::cases());
    cases
}

/// The case of this name, of [`all`] or of [`many`].
pub fn find(name: &str) -> Option<Case> {
    many::find(name).or_else(|| all().into_iter().find(|case| case.name == name))
}
