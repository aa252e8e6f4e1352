//! The page: a table of ends by middleware.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cargo_metadata::MetadataCommand;
use latency_experiment_tests::{Ending, Stack};

use crate::verdict::Verdict;

/// A middleware, with all that was found of it.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) cells: Vec<Cell>,
}

pub(crate) struct Cell {
    pub(crate) stack: Stack,
    pub(crate) ending: Ending,
    pub(crate) verdict: Verdict,
    pub(crate) made_up_labels: Vec<String>,
}

const INTRODUCTION: &str = "\
# What other middleware makes of the same requests

This page is written by a program, which plays every end of a request on every server over real
sockets, and compares what each middleware counted with what happened:

```sh
cargo run --release -p latency-experiment-tests --bin peers
```

Each middleware is set up as its own README says, with nothing but its defaults. A cell is what was
found on all servers that the middleware is for; where a server differs from most others, it is
named. The same cells of this crate are asserted, with size class and route, by
`tests/tests/matrix.rs`, which also says why a cell that is missing cannot exist.

| word | means |
|---|---|
| ok | counted once, told as what it was, and nothing stays in flight, as far as the middleware looks at it at all |
| head only | counted once and told by its head; that the body failed, or what a gRPC status in the trailers says, is not seen |
| HTTP status | counted once and told by its HTTP status, which is 200 for gRPC; what the gRPC status in the head says is not seen |
| no status | counted once, without a status and without an error: the lack of both tells it from the others |
| **lost** | not counted at all |
| **double** | counted more than once |
| **gauge leaks** | it stays in flight for ever |
| **wrong outcome** | a failure is told as a success |
| **client's label** | a label has a path, method or host that the client made up |
| **missed**, **false alarm** | of the layer that tells of early drops: it did not tell, or told of a request that was not dropped |
| panic as drop | of the same layer: it does not tell a request that panicked from one that was dropped |
| unused body | of the same layer: it told of a body that the server had no use for, while the response was complete |

What is not in bold is a choice, not a mistake. Measuring heads means \"head only\" here too, unless
bodies are measured. What is in bold is a request that the numbers have not or have wrongly; whether
they promise to have it, say the words of each middleware below the table.
";

const CLAIMS: &str = "

## What each says of itself

- **axum-prometheus**: `axum_http_requests_total` is \"the total number of HTTP requests handled\",
  `axum_http_requests_pending` \"the number of currently in-flight requests\". A request is counted
  under the status of its response, so one that has none is in neither the total nor the durations;
  the gauge is right in all cells. The path of a request that matches no route is the documented
  default of its label `endpoint`; `EndpointLabel::MatchedPathWithFallbackFn` avoids it.
- **opentelemetry-instrumentation-tower**: `http.server.active_requests` is the \"number of in-flight
  HTTP server requests\"; it goes down where a response or an error comes. Its goal is \"every
  `Required`, `Conditionally Required`, and `Recommended` attribute\" of the OpenTelemetry conventions
  for HTTP. Those want `error.type` on a request that ended with an error, and `_OTHER` in place of a
  method that is not known. The spans that it makes too, and which tell of errors, are not looked at
  here.
- **tower-otel-http-metrics**: `http.server.active_requests` is the \"Number of active HTTP server
  requests\"; it goes down where a response comes.
- **axum-otel-metrics**: `http.server.active_requests` is the \"number of active HTTP requests\", and
  is right in all cells; `http.server.request.duration` is the \"HTTP request latencies in seconds\",
  recorded where a response comes. The label `server.address`, which is the `host` header, is documented.
- **tower-http, in-flight requests**: a request counts until \"the response body is consumed, dropped,
  or an error happens\", and it does.
- **tower-http, on early drop**: it tells of a body that is \"dropped before reaching
  `is_end_stream`\". So it tells of what a handler answers HEAD, 204 or 304 with, unless that says
  that it is empty, and of a body that does not say that its trailers were the last of it. The
  handler here answers all three with a body that is not empty.
";

pub(crate) fn write(columns: &[Column]) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Ends of a request\n\n| |");
    for column in columns {
        write!(text, " {} |", column.name).expect("a string takes all");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    for ending in Ending::ALL {
        write!(text, "\n| {ending} |").expect("a string takes all");
        for column in columns {
            write!(text, " {} |", summary(column, ending)).expect("a string takes all");
        }
    }
    text.push_str("\n| *in bold, of all cells* |");
    for column in columns {
        let wrong = column.cells.iter().filter(|cell| cell.verdict.is_wrong()).count();
        write!(text, " *{wrong} of {}* |", column.cells.len()).expect("a string takes all");
    }
    text.push_str(CLAIMS);
    text.push_str("\n## Labels that a client makes up\n\n");
    text.push_str("Each new value is a new series, up to the limit that a recorder may have.\n\n");
    for column in columns {
        let labels: BTreeSet<_> =
            column.cells.iter().flat_map(|cell| &cell.made_up_labels).cloned().collect();
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        if !labels.is_empty() {
            writeln!(text, "- {}: {}", column.name, labels.join(", ")).expect("a string takes all");
        }
    }
    text.push_str("\n## Versions\n\n");
    for (package, version) in versions(columns) {
        writeln!(text, "- {package} {version}").expect("a string takes all");
    }
    text.push_str(
        "\nAll of them work with axum 0.8, tonic 0.14 and http 1. axum-prometheus and axum-otel-metrics\n\
         are for `Router::layer` of axum, so only its cells are played with them; the documentation of\n\
         tower-otel-http-metrics names axum and hyper.\n",
    );
    text
}

/// The verdict that most servers have, and the others with their servers.
fn summary(column: &Column, ending: Ending) -> String {
    let mut verdicts = BTreeMap::<Verdict, Vec<Stack>>::new();
    for cell in column.cells.iter().filter(|cell| cell.ending == ending) {
        verdicts.entry(cell.verdict).or_default().push(cell.stack);
    }
    let Some((&usual, _)) = verdicts.iter().max_by_key(|(_, stacks)| stacks.len()) else {
        return "—".to_owned();
    };
    let others = verdicts.iter().filter(|(verdict, _)| **verdict != usual);
    let others = others.map(|(verdict, stacks)| {
        let stacks: Vec<_> = stacks.iter().map(ToString::to_string).collect();
        format!("{verdict}: {}", stacks.join(", "))
    });
    [usual.to_string()].into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

fn versions(columns: &[Column]) -> BTreeMap<String, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .exec()
        .expect("cargo knows its own workspace");
    let named = metadata.packages.iter().filter(|package| {
        let servers = ["axum", "hyper", "tonic"].contains(&package.name.as_str());
        servers || columns.iter().any(|column| column.package == package.name.as_str())
    });
    named.map(|package| (package.name.to_string(), package.version.to_string())).collect()
}
