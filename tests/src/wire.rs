//! A client of one connection, which can leave at any moment.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::ending::Ending;
use crate::stack::Stack;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Absent when there was no response.
    pub status: Option<StatusCode>,
    /// Those of the head.
    pub headers: HeaderMap,
    /// As much of the body as was read.
    pub body: Bytes,
    /// Absent when there were none.
    pub trailers: Option<HeaderMap>,
    /// The body came to its end.
    pub complete: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    sender: Sender,
    /// Polls the connection; aborting it closes the socket.
    connection: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    pub async fn connect(address: SocketAddr, http2: bool) -> Self {
        // A small window, so that large bodies wait for the client to read on.
        Self::connect_with_window(address, http2, 65_535).await
    }

    /// Connects; over HTTP/2 the server may send so many bytes of a body before they are read.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    pub async fn connect_with_window(address: SocketAddr, http2: bool, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        // Else the kernel holds small packets back, and every exchange takes 40 ms.
        stream.set_nodelay(true).expect("a TCP socket");
        let io = TokioIo::new(stream);
        if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(window);
            let (sender, connection) = builder.handshake(io).await.expect("a handshake");
            let connection = tokio::spawn(async {
                let _ = connection.await;
            });
            Self { sender: Sender::Http2(sender), connection }
        } else {
            let (sender, connection) = http1::handshake(io).await.expect("a handshake");
            let connection = tokio::spawn(async {
                let _ = connection.with_upgrades().await;
            });
            Self { sender: Sender::Http1(sender), connection }
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request and reads what comes back.
    pub async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let Ok(response) = self.send(request).await else { return Answer::default() };
        let (mut answer, mut body) = Answer::of(response);
        answer.complete = read(&mut answer, &mut body).await;
        answer
    }

    /// Sends a request as the ending wants it, and leaves when the ending wants that; `arrived`
    /// tells when the service has a request that it will not answer.
    ///
    /// # Panics
    ///
    /// When a request that is never answered has an answer.
    pub async fn play(&mut self, stack: Stack, ending: Ending, arrived: &Notify) -> Answer {
        let request = request(stack, ending);
        match ending {
            Ending::DropBeforeHead => {
                self.leave_before_head(request, arrived).await;
                Answer::default()
            }
            // hyper takes message and trailers of a unary method at once, unless nothing may be sent.
            Ending::DropInBody if stack == Stack::TonicUnary => {
                let response = self.send(request).await;
                self.leave();
                response.map_or_else(|_| Answer::default(), |response| Answer::of(response).0)
            }
            Ending::DropInBody | Ending::EventStream => self.leave_in_body(request).await,
            Ending::Upgrade => {
                let Ok(response) = self.send(request).await else { return Answer::default() };
                let (parts, body) = response.into_parts();
                let (mut answer, ()) = Answer::of(Response::from_parts(parts.clone(), ()));
                let upgraded = hyper::upgrade::on(Response::from_parts(parts, body)).await;
                if let Ok(upgraded) = upgraded {
                    let (mut stream, mut bytes) = (TokioIo::new(upgraded), [0; 4]);
                    let _ = stream.write_all(b"ping").await;
                    answer.complete = stream.read_exact(&mut bytes).await.is_ok();
                    answer.body = Bytes::copy_from_slice(&bytes);
                }
                answer
            }
            _ => self.exchange(request).await,
        }
    }

    /// Sends a request, and leaves once the service has it.
    ///
    /// # Panics
    ///
    /// When there is an answer.
    pub async fn leave_before_head(&mut self, request: Request<Full<Bytes>>, arrived: &Notify) {
        tokio::select! {
            answer = self.send(request) => panic!("an answer: {answer:?}"),
            () = arrived.notified() => {}
        }
        self.leave();
    }

    /// Sends a request, and leaves after the first frame of the body.
    pub async fn leave_in_body(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let Ok(response) = self.send(request).await else { return Answer::default() };
        let (mut answer, mut body) = Answer::of(response);
        if let Some(Ok(frame)) = body.frame().await {
            answer.body = frame.into_data().unwrap_or_default();
        }
        drop(body);
        self.leave();
        answer
    }

    /// HTTP/1 has no other way to give up a request than to close the connection. In HTTP/2 the
    /// stream was reset when the request was dropped, and the connection stays.
    fn leave(&self) {
        if matches!(self.sender, Sender::Http1(_)) {
            self.connection.abort();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    fn of<B>(response: Response<B>) -> (Self, B) {
        let (head, body) = response.into_parts();
        let answer = Self { status: Some(head.status), headers: head.headers, ..Self::default() };
        (answer, body)
    }
}

/// Reads a body; whether it came to its end.
async fn read(answer: &mut Answer, body: &mut Incoming) -> bool {
    let mut bytes = Vec::new();
    let complete = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            },
        }
    };
    answer.body = bytes.into();
    complete
}

fn request(stack: Stack, ending: Ending) -> Request<Full<Bytes>> {
    let path = match ending {
        Ending::Unmatched if stack.is_grpc() => "/scan.Scan/31337",
        Ending::Unmatched => "/scan/31337",
        _ => stack.path(),
    };
    let mut request = Request::builder();
    if stack.is_http2() {
        request = request.uri(format!("http://cells.test{path}"));
    } else {
        request = request.uri(path).header("host", "cells.test");
    }
    if stack.is_grpc() {
        request = request.method("POST").header("content-type", "application/grpc");
        request = request.header("te", "trailers");
        // A message of no bytes: not compressed, length 0.
        let body = Full::new(Bytes::from_static(&[0; 5]));
        if ending == Ending::CompressionInside {
            request = request.header("grpc-accept-encoding", "gzip");
        }
        return request.body(body).expect("a valid request");
    }
    match ending {
        Ending::Head => request = request.method("HEAD"),
        Ending::Unmatched => request = request.method("SCAN31337"),
        Ending::Trailers => request = request.header("te", "trailers"),
        Ending::Upgrade => {
            request = request.header("connection", "upgrade").header("upgrade", "echo");
        }
        Ending::CompressionInside | Ending::CompressionOutside => {
            request = request.header("accept-encoding", "gzip");
        }
        _ => {}
    }
    request.body(Full::default()).expect("a valid request")
}
