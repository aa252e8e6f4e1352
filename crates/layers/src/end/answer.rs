//! What a response says of how its request ended.

use http::{HeaderMap, StatusCode};
use latency_experiment_record::Outcome;

use crate::head::is_grpc;

/// What a response says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Whether a gRPC service answered that knows the method.
    pub(crate) implemented: bool,
}

impl Answer {
    /// There was no response.
    pub(super) fn none(outcome: Outcome) -> Self {
        Self { outcome, implemented: false }
    }

    #[inline]
    pub(super) fn of_http(status: StatusCode) -> Self {
        let outcome = match status.as_u16() {
            ..400 => Outcome::Completed,
            400..500 => Outcome::ClientError,
            500.. => Outcome::ServerError,
        };
        Self { outcome, implemented: false }
    }

    /// Without a status in the head, a gRPC answer is one by its type: its status comes in the
    /// trailers. Anything else is a plain server that was sent a gRPC request.
    #[cold]
    #[inline(never)]
    pub(super) fn of_grpc_head(status: StatusCode, headers: &HeaderMap) -> Self {
        match grpc_status(headers) {
            Some(code) => Self::of_grpc(code),
            None => Self { implemented: is_grpc(headers), ..Self::of_http(status) },
        }
    }

    /// The codes by whose fault they are: 1 is a cancelled request, 3 (invalid argument), 5 (not
    /// found), 6 (already exists), 7 (permission denied), 9 (failed precondition), 11 (out of
    /// range) and 16 (unauthenticated) are the client's, the others the server's.
    pub(super) fn of_grpc(code: u32) -> Self {
        const UNIMPLEMENTED: u32 = 12;
        let outcome = match code {
            0 => Outcome::Completed,
            1 => Outcome::Cancelled,
            3 | 5 | 6 | 7 | 9 | 11 | 16 => Outcome::ClientError,
            _ => Outcome::ServerError,
        };
        Self { outcome, implemented: code != UNIMPLEMENTED }
    }
}

/// The gRPC status in a head ("trailers only") or in trailers, if it is there.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
