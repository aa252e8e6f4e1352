use std::fmt::Write as _;
use std::process::Command;

use crate::table::Table;

/// The document with all tables, the commit whose code made them, and the command.
pub fn document(tables: &[Table], command: &str, commit: &str) -> String {
    let mut text = format!(
        "# Simulations\n\n\
         Written by `{command}`\n\
         at commit `{commit}`. How to read it: [statistics.md](../statistics.md).\n\n\
         Limits are the promised level plus three standard errors of a simulation of so many runs, or\n\
         the figure of the acceptance criterion. \"Shown beside\" are methods that promise nothing here.\n\n"
    );
    let rows = tables.iter().flat_map(|table| &table.rows);
    let (mut promises, mut broken) = (0, 0);
    for holds in rows.filter_map(crate::row::Row::holds) {
        promises += 1;
        broken += usize::from(!holds);
    }
    let _ = writeln!(text, "{} of {promises} promises hold.\n", promises - broken);
    for table in tables {
        let _ = writeln!(text, "{}", table.markdown());
    }
    format!("{}\n", text.trim_end())
}

/// The commit that is checked out, marked when files differ from it. Ask before a long simulation, during
/// which others may commit.
pub fn commit() -> String {
    describe().unwrap_or_else(|| "unknown".to_owned())
}

fn describe() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { hash } else { format!("{hash} with changes") })
}
