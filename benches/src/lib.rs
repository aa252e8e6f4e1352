//! Benches of the request path. See the folder `benches` of this package.
