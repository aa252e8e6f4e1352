//! A gRPC service of three methods, whose messages are bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::{Request, Response, header};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::{Grpc, NamedService};
use tower::{Service, service_fn};

use crate::ending::{Ending, Site};
use crate::handler::{Handler, LARGE, first_frame_and_no_more, is_innocent};
use crate::hush::panic_on_purpose;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Cells(pub(crate) Handler);

impl NamedService for Cells {
    const NAME: &'static str = "cells.Cells";
}

impl Service<Request<Body>> for Cells {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move {
            if is_innocent(&request) {
                handler.innocence().await;
                if handler.is_in_its_body() {
                    let response = Response::new(Body::new(first_frame_and_no_more()));
                    let (mut parts, body) = response.into_parts();
                    parts.headers.insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
                    return Ok(Response::from_parts(parts, body));
                }
                return Ok(Status::ok("").into_http());
            }
            let mut grpc = Grpc::new(Messages);
            if handler.ending == Ending::CompressionInside {
                grpc = grpc.send_compressed(CompressionEncoding::Gzip);
            }
            let path = request.uri().path().to_owned();
            let response = match path.rsplit('/').next() {
                Some("Unary") => {
                    let method = service_fn(move |_: tonic::Request<Bytes>| {
                        let handler = handler.clone();
                        async move {
                            handler.before_the_head().await;
                            Ok(tonic::Response::new(message(handler.ending)))
                        }
                    });
                    grpc.unary(method, request).await
                }
                Some("Streaming") => {
                    let method = service_fn(move |_: tonic::Request<Bytes>| {
                        let handler = handler.clone();
                        async move {
                            handler.before_the_head().await;
                            Ok(tonic::Response::new(messages(handler.ending)))
                        }
                    });
                    grpc.server_streaming(method, request).await
                }
                _ => {
                    let status = match handler.ending {
                        Ending::ClientError => Status::not_found(""),
                        Ending::ServerError => Status::internal(""),
                        _ => Status::ok(""),
                    };
                    let method = service_fn(move |_: tonic::Request<Bytes>| {
                        let (handler, status) = (handler.clone(), status.clone());
                        async move {
                            handler.before_the_head().await;
                            Err::<tonic::Response<Message>, _>(status)
                        }
                    });
                    grpc.unary(method, request).await
                }
            };
            Ok(response)
        })
    }
}

/// What is sent, or what goes wrong when it is encoded: in the body.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Bytes(usize),
    Panic,
    Error,
}

fn message(ending: Ending) -> Message {
    match ending {
        Ending::EmptyBody => Message::Bytes(0),
        // Larger than the window of the client, so that it can leave in the midst of it.
        Ending::ExactBody
        | Ending::CompressionInside
        | Ending::DropInBody
        | Ending::BodyTimeoutInside
        | Ending::BodyTimeoutOutside => Message::Bytes(LARGE),
        Ending::Panic(Site::Body, _) | Ending::PanicBesideInnocent(Site::Body, _) => Message::Panic,
        Ending::BodyError => Message::Error,
        _ => Message::Bytes(9),
    }
}

type MessageStream = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

fn messages(ending: Ending) -> MessageStream {
    let first = Ok(Message::Bytes(9));
    match ending {
        Ending::EmptyBody => Box::pin(tokio_stream::empty()),
        Ending::ClientError => Box::pin(tokio_stream::iter([first, Err(Status::not_found(""))])),
        Ending::ServerError => Box::pin(tokio_stream::iter([first, Err(Status::internal(""))])),
        Ending::BodyError => Box::pin(tokio_stream::iter([first, Ok(Message::Error)])),
        Ending::Panic(Site::Body, _) | Ending::PanicBesideInnocent(Site::Body, _) => {
            Box::pin(tokio_stream::iter([first, Ok(Message::Panic)]))
        }
        Ending::DropInBody | Ending::BodyTimeoutInside | Ending::BodyTimeoutOutside => {
            Box::pin(tokio_stream::once(first).chain(tokio_stream::pending()))
        }
        Ending::StreamedBody => {
            Box::pin(tokio_stream::iter((0..LARGE / 1_000).map(|_| Ok(Message::Bytes(1_000)))))
        }
        Ending::ExactBody | Ending::CompressionInside => {
            Box::pin(tokio_stream::once(Ok(Message::Bytes(LARGE))))
        }
        _ => Box::pin(tokio_stream::iter([first.clone(), first])),
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Messages;

impl Codec for Messages {
    type Encode = Message;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Messages {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, message: Message, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match message {
            Message::Bytes(bytes) => to.put_bytes(b'x', bytes),
            Message::Panic => panic_on_purpose(),
            Message::Error => return Err(Status::internal("on purpose")),
        }
        Ok(())
    }
}

impl Decoder for Messages {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
