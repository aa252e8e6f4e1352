//! Instructions per request, counted by callgrind.
//!
//! The program runs itself again under valgrind, once per case. There it sends requests until all
//! is warm, then calls the function `measured`: callgrind counts only within that function. The count does not
//! depend on what else the machine does.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::allocation;
use crate::cases::{self, Case, Requests};
use crate::document::{InstructionCase, Instructions};

/// Requests before the counting starts, and as many again after the upkeep.
const WARM_UP: u64 = 2_000;
/// Requests that are counted.
const MEASURED: u64 = 5_000;

/// The argument that makes a program call [`run`], before the name of the case.
pub const RUN_ARGUMENT: &str = "--under-callgrind";

/// Why there is no count.
#[derive(Debug)]
pub enum CallgrindError {
    /// valgrind is not installed.
    Missing,
    /// valgrind or the program under it failed; this is what they printed.
    Failed(String),
    /// The profile of this path has no count.
    NoCount(PathBuf),
    /// The program or its profile could not be read.
    Io(io::Error),
}

impl fmt::Display for CallgrindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "`valgrind` is not installed, and instructions are counted by its callgrind; \
                 on Debian and Ubuntu: apt-get install valgrind",
            ),
            Self::Failed(printed) => write!(f, "valgrind failed:\n{printed}"),
            Self::NoCount(profile) => {
                write!(f, "callgrind counted nothing in {}", profile.display())
            }
            Self::Io(error) => write!(f, "running under callgrind: {error}"),
        }
    }
}

impl Error for CallgrindError {}

impl From<io::Error> for CallgrindError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The part that runs under valgrind: sends requests to the case, and `false` when it is unknown.
pub fn run(name: &str) -> bool {
    let Some(case) = cases::find(name) else { return false };
    let mut requests = case.service()(0);
    requests(WARM_UP.max(case.warm_up));
    case.upkeep();
    requests(WARM_UP);
    measured(&mut requests, MEASURED);
    true
}

/// What callgrind counts; it finds the function by its name.
#[inline(never)]
fn measured(requests: &mut Requests, count: u64) {
    requests(count);
}

/// Measures these cases, as many at a time as there are processors. With `keep`, the profiles stay
/// in that folder, for `callgrind_annotate`.
///
/// # Panics
///
/// When a case panics while its allocations are counted.
pub fn measure(cases: &[Case], keep: Option<&Path>) -> Result<Instructions, CallgrindError> {
    require_valgrind()?;
    // Callgrind counts the same whether the processors are busy or not, so all of them may work.
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = cases.len().div_ceil(workers).max(1);
    let mut counts = vec![0.0; cases.len()];
    thread::scope(|scope| {
        let spawned: Vec<_> = counts
            .chunks_mut(share)
            .zip(cases.chunks(share))
            .map(|(counts, cases)| {
                scope.spawn(move || {
                    for (count, case) in counts.iter_mut().zip(cases) {
                        *count = instructions_per_request(case, keep)?;
                    }
                    Ok::<(), CallgrindError>(())
                })
            })
            .collect();
        spawned.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let measured = cases.iter().zip(counts).map(|(case, count)| {
        let per_request = allocation::per_request(case);
        InstructionCase {
            name: case.name.clone(),
            instructions: (count * 10.0_f64).round() / 10.0,
            allocations: per_request.allocations,
            bytes: per_request.bytes,
        }
    });
    Ok(Instructions { cases: measured.collect() })
}

fn instructions_per_request(case: &Case, keep: Option<&Path>) -> Result<f64, CallgrindError> {
    let file = format!("callgrind.{}.{}", case.name.replace('/', "-"), std::process::id());
    let profile = keep.map_or_else(std::env::temp_dir, Path::to_owned).join(file);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*callgrind::measured"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe()?)
        .args([RUN_ARGUMENT, &case.name])
        .stdin(Stdio::null())
        .output()?;
    succeeded(&output)?;
    let total = std::fs::read_to_string(&profile)?
        .lines()
        .find_map(|line| line.strip_prefix("summary: ")?.trim().parse::<u64>().ok());
    let Some(total @ 1..) = total else { return Err(CallgrindError::NoCount(profile)) };
    if keep.is_none() {
        std::fs::remove_file(profile)?;
    }
    Ok(total as f64 / MEASURED as f64)
}

fn require_valgrind() -> Result<(), CallgrindError> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) => succeeded(&output),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(CallgrindError::Missing),
        Err(error) => Err(error.into()),
    }
}

fn succeeded(output: &Output) -> Result<(), CallgrindError> {
    if output.status.success() {
        return Ok(());
    }
    Err(CallgrindError::Failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}
