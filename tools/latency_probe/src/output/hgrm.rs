//! Percentile text as `HistogramLogProcessor` prints it: readable by the plotter at hdrhistogram.github.io.

use std::fmt::Write;
use std::path::Path;

use super::{Named, WriteError};
use crate::recorder::Samples;

/// Writes one run's percentiles, values in nanoseconds.
pub(crate) fn write(path: &Path, run: &Named) -> Result<(), WriteError> {
    std::fs::write(path, text(&run.samples)).map_err(|error| WriteError::new(path, error))
}

fn text(samples: &Samples) -> String {
    let (whole, parts) = (samples.whole(), samples.parts_per_ns() as f64);
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in whole.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / parts, step.quantile_iterated_to());
        write!(out, "{value:12.3} {quantile:2.12} {total:10}").expect("writing to a String cannot fail");
        match quantile < 1.0 {
            true => writeln!(out, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(out),
        }
        .expect("writing to a String cannot fail");
    }
    let (mean, deviation) = (whole.mean() / parts, whole.stdev() / parts);
    let max = samples.max_ns();
    out += &format!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n");
    out += &format!("#[Max     = {max:12.3}, Total count    = {:12}]\n", samples.count());
    out += &format!("#[Buckets = {:12}, SubBuckets     = {SUB_BUCKETS:12}]\n", whole.buckets());
    out
}

/// The standard tools' own default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Of a histogram with three significant digits.
const SUB_BUCKETS: u32 = 2_048;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::recorder::Recorder;

    #[test]
    fn the_text_ends_with_all_samples_and_the_largest_value() {
        let mut recorder = Recorder::of_ns();
        (1..=1_000).for_each(|ns| recorder.record_ns(Instant::now(), ns));
        let text = text(&recorder.finish());
        let rows: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let last: Vec<&str> = rows.last().expect("rows").split_whitespace().collect();
        assert_eq!(last, ["1000.000", "1.000000000000", "1000"]);
        assert!(text.contains("#[Max     =     1000.000, Total count    =         1000]"), "{text}");
    }
}
