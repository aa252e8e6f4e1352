//! Reading snapshot files, and writing to standard output.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use latency_experiment_record::Snapshot;

use crate::failure::Failure;

/// Reads all snapshots; `-` is standard input.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Snapshot>, Failure> {
    if paths.iter().filter(|path| is_standard_input(path)).count() > 1 {
        return Err(Failure::usage("`-` is given twice: standard input can be read once"));
    }
    paths.iter().map(|path| read(path)).collect()
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read(path: &Path) -> Result<Snapshot, Failure> {
    let (name, text) = if is_standard_input(path) {
        let mut text = String::new();
        let result = io::stdin().read_to_string(&mut text).map(|_| text);
        ("standard input".to_owned(), result)
    } else {
        (path.display().to_string(), fs::read_to_string(path))
    };
    let text = text.map_err(|error| Failure::error(format!("{name}: {error}")))?;
    Snapshot::from_json(&text).map_err(|error| Failure::error(format!("{name}: {error}")))
}

/// Prints to standard output. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
