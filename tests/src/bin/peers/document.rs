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

Each middleware is set up as its own README says. A cell is what was found on all servers that the
middleware is for; where a server differs from most others, it is named. The same cells of this
crate are asserted, with size class and route, by `tests/tests/matrix.rs`, which also says why a
cell that is missing cannot exist.

| word | means |
|---|---|
| ok | counted once, told as what it was, and nothing stays in flight |
| head only | counted once and told by its head; that the body failed, or what a gRPC status in the trailers says, is not seen |
| **lost** | not counted at all |
| **double** | counted more than once |
| **gauge leaks** | it stays in flight for ever |
| **wrong outcome** | no label tells the failure from a success |
| **client's label** | a label has a path, method or host that the client made up |
| **missed**, **false alarm** | of the layer that tells of early drops: it did not tell, or told of a request that was not dropped |
| panic as drop | of the same layer: it does not tell a request that panicked from one that was dropped |

\"head only\" and \"panic as drop\" are choices, not mistakes. Measuring heads means the first one here
too, unless bodies are measured.
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
    text.push_str("\n| *wrong, of all cells* |");
    for column in columns {
        let wrong = column.cells.iter().filter(|cell| cell.verdict.is_wrong()).count();
        write!(text, " *{wrong} of {}* |", column.cells.len()).expect("a string takes all");
    }
    text.push_str("\n\n## Labels that a client makes up\n\n");
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
         are for `Router::layer` of axum, so only its cells are played with them.\n",
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
