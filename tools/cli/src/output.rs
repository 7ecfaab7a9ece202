//! Two voices: tables for people, one JSON object per line for programs.
//!
//! Invariant: with `--json`, standard output holds JSON objects and nothing else.

use std::io::{self, IsTerminal, Write};

use miette::Report;
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One result: the object for programs, or the text for people.
    pub(crate) fn result(
        self,
        object: Map<String, Value>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let line = if self.json { Value::Object(object).to_string() } else { text() };
        write_line(line.as_bytes())
    }

    /// Bytes as they are, without a line end.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(gone)
    }

    /// A remark for people, on standard error; programs do not get it.
    pub(crate) fn remark(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{text}"); // Nobody listens: then nobody is told.
        }
    }

    /// A line of a story told on standard output to people only.
    pub(crate) fn tell(self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write_line(text.as_bytes()) }
    }

    /// The end of a failed command, on standard error.
    pub(crate) fn failure(self, failure: Failure) {
        if matches!(failure, Failure::Quiet { .. }) {
            return;
        }
        let text = if self.json {
            let help = miette::Diagnostic::help(&failure).map(|help| help.to_string());
            json!({"error": {"name": failure.name(), "text": failure.to_string(), "help": help,
                "exit_code": failure.exit_code()}})
            .to_string()
        } else {
            format!("{:?}", Report::new(failure))
        };
        let _ = writeln!(io::stderr(), "{text}"); // Nobody listens: the exit code still tells.
    }
}

/// How failures look: as wide as the terminal, or, where none watches, unbroken lines that a log can be searched for.
pub(crate) fn choose_looks() {
    // Only a second call could fail, and this is the only one.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(miette::MietteHandlerOpts::new().wrap_lines(is_watched()).build())
    }));
}

/// Whether a moving line makes sense: somebody watches standard error on a terminal.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Columns with the widths that their cells need; the last column is never padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A duration as people say it, two or three digits.
pub(crate) fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.1} s", nanoseconds as f64 / 1e9),
    }
}

fn write_line(line: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()).map_err(gone)
}

/// A reader that has seen enough (`| head`) is no failure of ours.
fn gone(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Quiet { exit_code: 0 },
        _ => Failure::other(format!("cannot write to standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let rows = [vec!["shard".to_owned(), "keys".to_owned()], vec!["0".to_owned(), "12".to_owned()]];
        assert_eq!(table(&rows), "shard  keys\n0      12");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.5 µs");
        assert_eq!(duration(2_000_000), "2.0 ms");
        assert_eq!(duration(3_100_000_000), "3.1 s");
    }
}
