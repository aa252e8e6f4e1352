//! The ends that a request can come to, and where each of them cannot exist.

use std::fmt;

use crate::stack::Stack;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// A short answer.
    Ok,
    /// 404 or `NOT_FOUND`.
    ClientError,
    /// 503 or `INTERNAL`.
    ServerError,
    /// The service resolves to `Err`.
    ServiceError,
    /// A panic, and what is around it.
    Panic(Site, Catch),
    /// The same beside a request that does nothing wrong, both polled by one task.
    PanicBesideInnocent(Site, Catch),
    /// The client goes away while the service works.
    DropBeforeHead,
    /// The client goes away half-way through the body.
    DropInBody,
    /// A timeout layer inside answers in place of the service.
    TimeoutInsideAnswers,
    /// A timeout layer inside fails in place of the service.
    TimeoutInsideFails,
    /// A timeout layer outside drops the request.
    TimeoutOutside,
    /// A timeout layer inside ends the body with an error.
    BodyTimeoutInside,
    /// A timeout layer outside drops the body.
    BodyTimeoutOutside,
    /// The method HEAD.
    Head,
    /// 204, with a body that nobody asks for.
    NoContent,
    /// 304, with a `content-length` of what is not sent.
    NotModified,
    /// A body of no bytes.
    EmptyBody,
    /// A body of 600 kB whose size is known from the start.
    ExactBody,
    /// A body of 600 kB whose size is known at its end.
    StreamedBody,
    /// The body fails half-way.
    BodyError,
    /// The body ends with trailers.
    Trailers,
    /// `text/event-stream`, which the client leaves after the first event.
    EventStream,
    /// 101, and bytes of another protocol behind it.
    Upgrade,
    /// gzip inside the layer under test.
    CompressionInside,
    /// gzip outside of it.
    CompressionOutside,
    /// A method and a path that the client made up.
    Unmatched,
}

/// Where a panic happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// In `Service::call`.
    Call,
    /// While the future is polled, after it was pending.
    Future,
    /// While the body is polled, after its first frame.
    Body,
}

/// Where tower-http's `CatchPanicLayer` stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Catch {
    /// Nowhere.
    None,
    /// Inside of the layer under test.
    Inside,
    /// Outside of it.
    Outside,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 42] = [
        Self::Ok,
        Self::ClientError,
        Self::ServerError,
        Self::ServiceError,
        Self::Panic(Site::Call, Catch::None),
        Self::Panic(Site::Call, Catch::Inside),
        Self::Panic(Site::Call, Catch::Outside),
        Self::Panic(Site::Future, Catch::None),
        Self::Panic(Site::Future, Catch::Inside),
        Self::Panic(Site::Future, Catch::Outside),
        Self::Panic(Site::Body, Catch::None),
        Self::Panic(Site::Body, Catch::Inside),
        Self::Panic(Site::Body, Catch::Outside),
        Self::PanicBesideInnocent(Site::Call, Catch::None),
        Self::PanicBesideInnocent(Site::Call, Catch::Inside),
        Self::PanicBesideInnocent(Site::Call, Catch::Outside),
        Self::PanicBesideInnocent(Site::Future, Catch::None),
        Self::PanicBesideInnocent(Site::Future, Catch::Inside),
        Self::PanicBesideInnocent(Site::Future, Catch::Outside),
        Self::PanicBesideInnocent(Site::Body, Catch::None),
        Self::PanicBesideInnocent(Site::Body, Catch::Inside),
        Self::PanicBesideInnocent(Site::Body, Catch::Outside),
        Self::DropBeforeHead,
        Self::DropInBody,
        Self::TimeoutInsideAnswers,
        Self::TimeoutInsideFails,
        Self::TimeoutOutside,
        Self::BodyTimeoutInside,
        Self::BodyTimeoutOutside,
        Self::Head,
        Self::NoContent,
        Self::NotModified,
        Self::EmptyBody,
        Self::ExactBody,
        Self::StreamedBody,
        Self::BodyError,
        Self::Trailers,
        Self::EventStream,
        Self::Upgrade,
        Self::CompressionInside,
        Self::CompressionOutside,
        Self::Unmatched,
    ];

    /// Why a request cannot come to this end on that stack, if it cannot.
    pub fn cannot_exist(self, stack: Stack) -> Option<&'static str> {
        use Stack::{Hyper2, TonicStreaming, TonicTrailersOnly, TonicUnary};
        match (stack, self) {
            (Hyper2, Self::Upgrade) => Some("HTTP/2 has no 101 (RFC 9113, 8.6)"),
            (TonicUnary | TonicStreaming | TonicTrailersOnly, Self::Upgrade) => {
                Some("gRPC is HTTP/2, which has no 101 (RFC 9113, 8.6)")
            }
            (TonicUnary | TonicStreaming | TonicTrailersOnly, Self::Head) => {
                Some("gRPC is always POST")
            }
            (
                TonicUnary | TonicStreaming | TonicTrailersOnly,
                Self::NoContent | Self::NotModified,
            ) => Some("a gRPC response is always 200"),
            (TonicUnary | TonicStreaming | TonicTrailersOnly, Self::EventStream) => {
                Some("a gRPC response is application/grpc")
            }
            (TonicUnary | TonicStreaming | TonicTrailersOnly, Self::CompressionOutside) => {
                Some("gRPC compresses messages, inside the service")
            }
            (TonicUnary, Self::ClientError | Self::ServerError) => {
                Some("tonic sends the error of a unary method in the head: trailers-only")
            }
            (TonicUnary, Self::BodyTimeoutInside | Self::BodyTimeoutOutside) => {
                Some("the only message is there before the head: nothing is waited for")
            }
            (TonicUnary, Self::StreamedBody) => Some("a unary method answers with one message"),
            (TonicUnary | TonicStreaming, Self::Unmatched) => {
                Some("tonic answers trailers-only where it has no service")
            }
            (TonicTrailersOnly, ending) if !ending.fits_trailers_only() => {
                Some("a trailers-only response has neither body nor trailers")
            }
            _ => None,
        }
    }

    fn fits_trailers_only(self) -> bool {
        matches!(
            self,
            Self::Ok
                | Self::ClientError
                | Self::ServerError
                | Self::ServiceError
                | Self::Panic(Site::Call | Site::Future, _)
                | Self::PanicBesideInnocent(Site::Call | Site::Future, _)
                | Self::DropBeforeHead
                | Self::TimeoutInsideAnswers
                | Self::TimeoutInsideFails
                | Self::TimeoutOutside
                | Self::EmptyBody
                | Self::Unmatched
        )
    }

    /// Requests that the layer under test sees.
    pub fn requests(self) -> u64 {
        if matches!(self, Self::PanicBesideInnocent(..)) { 2 } else { 1 }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Ok => "ok",
            Self::ClientError => "client error",
            Self::ServerError => "server error",
            Self::ServiceError => "service error",
            Self::Panic(site, catch) => return f.pad(&format!("panic in {site}{catch}")),
            Self::PanicBesideInnocent(site, catch) => {
                return f.pad(&format!("panic in {site} beside an innocent{catch}"));
            }
            Self::DropBeforeHead => "client drop before the head",
            Self::DropInBody => "client drop inside the body",
            Self::TimeoutInsideAnswers => "timeout inside, answers 408",
            Self::TimeoutInsideFails => "timeout inside, fails",
            Self::TimeoutOutside => "timeout outside",
            Self::BodyTimeoutInside => "body timeout inside",
            Self::BodyTimeoutOutside => "body timeout outside",
            Self::Head => "HEAD",
            Self::NoContent => "204",
            Self::NotModified => "304",
            Self::EmptyBody => "empty body",
            Self::ExactBody => "exact body of 600 kB",
            Self::StreamedBody => "streamed body of 600 kB",
            Self::BodyError => "mid-body error",
            Self::Trailers => "trailers",
            Self::EventStream => "event stream",
            Self::Upgrade => "101 upgrade",
            Self::CompressionInside => "compression inside",
            Self::CompressionOutside => "compression outside",
            Self::Unmatched => "path and method made up",
        };
        f.pad(text)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call => "`call`",
            Self::Future => "the future",
            Self::Body => "the body",
        })
    }
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::Inside => ", caught inside",
            Self::Outside => ", caught outside",
        })
    }
}
