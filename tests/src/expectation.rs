//! How the request of a cell must be filed: written down here, not derived from the code.

use latency_experiment_record::Outcome;

use crate::ending::{Catch, Ending, Site};
use crate::stack::Stack;

const SMALL: &str = "0-500kB";
const MEDIUM: &str = "500-1000kB";
const UNKNOWN: &str = "unknown";

/// Outcome and size class of every request of a cell, in the order of the outcomes.
pub type Filed = Vec<(Outcome, &'static str)>;

/// The outcomes that a cell must have: when only the head is measured, and with the body.
#[allow(clippy::match_same_arms, reason = "it is a table, and each row has its own reason")]
pub fn outcomes(stack: Stack, ending: Ending) -> (Filed, Filed) {
    use Outcome::{Aborted, Cancelled, ClientError, Completed, Failed, Panicked, ServerError};
    let both = |filed| (vec![filed], vec![filed]);
    let split = |head, body| (vec![head], vec![body]);
    // tonic streams all that is not trailers-only, so its size is known at its end.
    let streamed = stack.is_grpc() && stack != Stack::TonicTrailersOnly;
    match ending {
        Ending::Ok | Ending::EmptyBody if streamed => {
            split((Completed, UNKNOWN), (Completed, SMALL))
        }
        // 101 has an empty body, and what follows it is another protocol's.
        Ending::Ok | Ending::EmptyBody | Ending::Upgrade => both((Completed, SMALL)),
        Ending::ClientError if streamed => split((Completed, UNKNOWN), (ClientError, SMALL)),
        Ending::ServerError if streamed => split((Completed, UNKNOWN), (ServerError, SMALL)),
        Ending::ClientError | Ending::TimeoutInsideAnswers => both((ClientError, SMALL)),
        Ending::Unmatched if stack.is_grpc() => both((ServerError, SMALL)),
        Ending::Unmatched => both((ClientError, SMALL)),
        Ending::ServerError => both((ServerError, SMALL)),
        Ending::ServiceError | Ending::TimeoutInsideFails => both((Failed, UNKNOWN)),
        Ending::Panic(Site::Body, _) => split((Completed, UNKNOWN), (Panicked, UNKNOWN)),
        Ending::Panic(_, Catch::Inside) => both((ServerError, SMALL)),
        Ending::Panic(..) => both((Panicked, UNKNOWN)),
        // A body panics when its head is out, and no layer around the service is there to catch it.
        Ending::PanicBesideInnocent(Site::Body, _) => (
            vec![(Completed, UNKNOWN), (Completed, UNKNOWN)],
            vec![(Panicked, UNKNOWN), (Aborted, UNKNOWN)],
        ),
        Ending::PanicBesideInnocent(_, Catch::Inside) => {
            let filed = vec![(Completed, SMALL), (ServerError, SMALL)];
            (filed.clone(), filed)
        }
        Ending::PanicBesideInnocent(..) => {
            let filed = vec![(Cancelled, UNKNOWN), (Panicked, UNKNOWN)];
            (filed.clone(), filed)
        }
        Ending::DropBeforeHead | Ending::TimeoutOutside => both((Cancelled, UNKNOWN)),
        Ending::DropInBody | Ending::BodyTimeoutOutside => {
            split((Completed, UNKNOWN), (Aborted, UNKNOWN))
        }
        // gRPC tells of an error half-way in the trailers.
        Ending::BodyError if streamed => split((Completed, UNKNOWN), (ServerError, SMALL)),
        Ending::BodyError | Ending::BodyTimeoutInside => {
            split((Completed, UNKNOWN), (Failed, UNKNOWN))
        }
        Ending::Head | Ending::NoContent | Ending::NotModified => both((Completed, SMALL)),
        Ending::ExactBody if streamed => split((Completed, UNKNOWN), (Completed, MEDIUM)),
        Ending::ExactBody | Ending::CompressionOutside => both((Completed, MEDIUM)),
        Ending::StreamedBody => split((Completed, UNKNOWN), (Completed, MEDIUM)),
        Ending::Trailers | Ending::CompressionInside => {
            split((Completed, UNKNOWN), (Completed, SMALL))
        }
        Ending::EventStream => both((Completed, UNKNOWN)),
    }
}

/// Whether a request that ended so got as far as a response.
pub fn has_head(ending: Ending, outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Cancelled | Outcome::Panicked | Outcome::Failed)
        || matches!(
            ending,
            Ending::Panic(Site::Body, _) | Ending::PanicBesideInnocent(Site::Body, _)
        )
        || matches!(ending, Ending::BodyError | Ending::BodyTimeoutInside)
}

fn is_caught_inside(ending: Ending) -> bool {
    matches!(
        ending,
        Ending::Panic(_, Catch::Inside) | Ending::PanicBesideInnocent(_, Catch::Inside)
    )
}

/// The route that a request of a cell must be filed under, when it ended so.
pub fn route(stack: Stack, ending: Ending, outcome: Outcome) -> &'static str {
    const UNMATCHED: &str = "_unmatched";
    match stack {
        _ if ending == Ending::Unmatched => UNMATCHED,
        // The route is not known outside of the router.
        Stack::AxumOutside => UNMATCHED,
        Stack::AxumInside | Stack::Hyper1 | Stack::Hyper2 if ending == Ending::Head => {
            "HEAD /cell/{id}"
        }
        Stack::AxumInside | Stack::Hyper1 | Stack::Hyper2 => "GET /cell/{id}",
        // A gRPC path is the client's word until a gRPC response confirms it. tower-http's layers
        // answer in plain HTTP.
        _ if !has_head(ending, outcome)
            || ending == Ending::TimeoutInsideAnswers
            || outcome == Outcome::ServerError && is_caught_inside(ending) =>
        {
            UNMATCHED
        }
        Stack::TonicUnary => "POST /cells.Cells/Unary",
        Stack::TonicStreaming => "POST /cells.Cells/Streaming",
        Stack::TonicTrailersOnly => "POST /cells.Cells/TrailersOnly",
    }
}
