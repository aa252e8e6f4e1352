//! Where request IDs come from, who is told, and what is counted.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue, Request, Response};
use latency_experiment_flags::{Flag, FlagSet};
use latency_experiment_layers::{Config, Experiments, RequestIdCounts, RequestIds, current};
use latency_experiment_testkit::ScriptedBody;
use tower::{Layer, Service, service_fn};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The ID that the handler saw, the one in the request that it got, and the one in the response.
type Seen = (String, Option<HeaderValue>, Option<HeaderValue>);

fn send(experiments: Experiments, header: Option<&[u8]>) -> Seen {
    let mut request = Request::new(());
    if let Some(value) = header {
        request.headers_mut().insert(HEADER, HeaderValue::from_bytes(value).unwrap());
    }
    let (sender, seen) = std::sync::mpsc::channel();
    let mut service = experiments.layer().layer(service_fn(move |request: Request<()>| {
        let id = current().request_id().unwrap().to_string();
        sender.send((id, request.headers().get(HEADER).cloned())).unwrap();
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default())))
    }));
    let Poll::Ready(Ok(response)) =
        pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        unreachable!()
    };
    let (id, in_request) = seen.recv().unwrap();
    (id, in_request, response.headers().get(HEADER).cloned())
}

fn experiments(ids: RequestIds) -> Experiments {
    let flags = FlagSet::try_new([Flag::new("flag")]).unwrap();
    Experiments::new(Config::new(flags).with_request_ids(ids))
}

fn is_generated(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[test]
fn by_default_ids_are_generated_and_nobody_is_told() {
    let experiments = experiments(RequestIds::generated());
    let (id, in_request, in_response) = send(experiments, Some(b"from-the-client"));
    assert!(is_generated(&id), "{id}");
    assert_eq!(in_request.unwrap(), "from-the-client", "the request passes unchanged");
    assert_eq!(in_response, None);
    assert_eq!(experiments.request_id_counts(), RequestIdCounts::default());
}

#[test]
fn request_and_response_are_told_when_asked() {
    let ids = RequestIds::generated().with_request_header(HEADER).with_response_header(HEADER);
    let (id, in_request, in_response) = send(experiments(ids), Some(b"from-the-client"));
    assert!(is_generated(&id));
    assert_eq!(
        (in_request.unwrap(), in_response.unwrap()),
        (id.parse().unwrap(), id.parse().unwrap())
    );
}

/// The ID that a response tells.
fn told<S, B>(mut service: S) -> HeaderValue
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(Request::new(()))).poll(&mut context) else {
        unreachable!()
    };
    response.headers()[HEADER].clone()
}

#[test]
fn the_response_tells_the_id_whichever_layer_builds_it() {
    let experiments = experiments(RequestIds::generated().with_response_header(HEADER));
    let (sender, seen) = std::sync::mpsc::channel();
    let handler = service_fn(move |_: Request<()>| {
        sender.send(current().request_id().unwrap().to_string()).unwrap();
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default())))
    });
    let told = [
        told(experiments.layer().layer(handler.clone())),
        told(experiments.layer().with_body().layer(handler.clone())),
        told(experiments.assign_layer().layer(experiments.latency_layer().layer(handler))),
    ];
    assert_eq!(
        told.map(|id| id.to_str().unwrap().to_owned()).to_vec(),
        seen.try_iter().collect::<Vec<_>>()
    );
}

#[test]
fn a_trusted_header_is_the_id_where_it_is_one() {
    let experiments = experiments(
        RequestIds::generated().with_trusted_header(HEADER).with_response_header(HEADER),
    );
    let longest = [b'x'; RequestIds::MAX_SENT_BYTES];
    for usable in [&b"req-1"[..], b"01JCKJZS2YFSTBQQ5W6ASQZ1Y2", &longest, b"req-1"] {
        let (id, _, in_response) = send(experiments, Some(usable));
        assert_eq!((id.as_bytes(), in_response.unwrap().as_bytes()), (usable, usable));
    }
    for unusable in [
        &b""[..],
        &[b'x'; RequestIds::MAX_SENT_BYTES + 1],
        b"two words",
        b"caf\xc3\xa9",
        b"\xff\xfe",
        b"tab\there",
    ] {
        let (id, ..) = send(experiments, Some(unusable));
        assert!(is_generated(&id), "{unusable:?} gave {id}");
    }
    assert!(is_generated(&send(experiments, None).0));
    let expected = RequestIdCounts { missing: 1, sent: 4, replaced: 6, repeated: 1 };
    assert_eq!(experiments.request_id_counts(), expected);
}

#[test]
fn requests_with_the_same_trusted_id_share_their_arm_and_flags_hash_its_text() {
    let experiments = experiments(RequestIds::generated().with_trusted_header(HEADER));
    for n in 0..200 {
        let id = format!("req-{n}");
        send(experiments, Some(id.as_bytes()));
        send(experiments, Some(id.as_bytes()));
    }
    let on = (0..200)
        .filter(|n| {
            latency_experiment_flags::slot("flag", format!("req-{n}").as_bytes()) >= 1 << 31
        })
        .count();
    let assigned = experiments.snapshot(experiments.flag("flag").unwrap()).assigned;
    assert_eq!((assigned["control"], assigned["variation"]), (400 - 2 * on as u64, 2 * on as u64));
}
