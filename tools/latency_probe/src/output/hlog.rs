//! Interval log, version 1.3: one line per second and run, values in nanoseconds, readable by the standard tools.

use std::path::Path;
use std::time::UNIX_EPOCH;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::{Named, WriteError};

/// Writes every run's intervals under the run's name as tag.
pub(crate) fn write(path: &Path, title: &str, runs: &[Named]) -> Result<(), WriteError> {
    let log = bytes(title, runs).map_err(|reason| WriteError::new(path, reason))?;
    std::fs::write(path, log).map_err(|error| WriteError::new(path, error))
}

fn bytes(title: &str, runs: &[Named]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let began_at = runs.first().map_or(UNIX_EPOCH, |run| run.samples.began_at());
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!("[latency-probe {} {title}, values in nanoseconds]", env!("CARGO_PKG_VERSION")))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(began_at);
    let mut log = builder.begin_log_with(&mut out, &mut serializer).map_err(|error| error.to_string())?;
    for run in runs {
        let offset = run.samples.began_at().duration_since(UNIX_EPOCH).unwrap_or_default();
        for interval in run.samples.intervals() {
            log.write_histogram(
                &interval.samples,
                offset + interval.start,
                interval.length,
                Tag::new(&run.name),
            )
            .map_err(|error| error.to_string())?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::recorder::Recorder;

    #[test]
    fn the_log_reads_back_with_its_tags_and_version_line() {
        let run = |name: &str| {
            let mut recorder = Recorder::of_ns();
            (1..=100).for_each(|ns| recorder.record_ns(Instant::now(), ns));
            Named { name: name.into(), samples: recorder.finish() }
        };
        let log = bytes("commit", &[run("in-flight-1"), run("in-flight-16")]).expect("a log");
        assert!(String::from_utf8_lossy(&log).contains("#[Histogram log format version 1.3]\n"));
        let tags: Vec<String> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.expect("a readable line") {
                LogEntry::Interval(interval) => interval.tag().map(|tag| tag.as_str().to_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(tags, ["in-flight-1", "in-flight-16"]);
    }
}
