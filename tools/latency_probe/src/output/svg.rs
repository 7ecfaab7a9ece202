//! Percentile plot: latency over "how rare", both axes logarithmic, one line per run.

use std::path::Path;

use plotters::prelude::*;

use super::{Named, WriteError};
use crate::recorder::Samples;

/// Draws all runs into one picture.
pub(crate) fn write(path: &Path, title: &str, runs: &[Named]) -> Result<(), WriteError> {
    let picture = draw(title, runs).map_err(|reason| WriteError::new(path, reason))?;
    std::fs::write(path, picture).map_err(|error| WriteError::new(path, error))
}

fn draw(title: &str, runs: &[Named]) -> Result<String, String> {
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        draw_on(&area, title, runs).map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(out)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_on(area: &Area<'_>, title: &str, runs: &[Named]) -> Result<(), Box<dyn std::error::Error>> {
    let lines: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| points(&run.samples)).collect();
    let all = || lines.iter().flatten();
    let rarest = all().map(|point| point.0).fold(10.0, f64::max);
    let top = all().map(|point| point.1).fold(1.0, f64::max);
    let bottom = all().map(|point| point.1).fold(top, f64::min).max(0.1);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("latency-probe {title}"), ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d((1.0..rarest).log_scale(), (bottom * 0.8..top * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of samples below")
        .x_label_formatter(&percentile_text)
        .y_label_formatter(&duration_text)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, (run, line)) in runs.iter().zip(&lines).enumerate() {
        let color = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?
            .label(run.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// Rarity 1/(1-quantile) against nanoseconds; the last point is the maximum.
fn points(samples: &Samples) -> Vec<(f64, f64)> {
    let count = samples.count() as f64;
    let parts = samples.parts_per_ns() as f64;
    let steps = samples.whole().iter_quantiles(TICKS_PER_HALF_DISTANCE);
    let rarity = |quantile: f64| (1.0 / (1.0 - quantile).max(1.0 / count)).min(count);
    steps
        .map(|s| (rarity(s.quantile_iterated_to()), (s.value_iterated_to() as f64 / parts).max(0.1)))
        .collect()
}

fn percentile_text(rarity: &f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / rarity);
    let digits = (rarity.log10().round() as i32 - 2).max(0) as usize;
    format!("{percent:.digits$} %")
}

fn duration_text(ns: &f64) -> String {
    match *ns {
        ns if ns < 1e3 => format!("{ns:.1} ns"),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}

const SIZE: (u32, u32) = (960, 600);
const TICKS_PER_HALF_DISTANCE: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::recorder::Recorder;

    #[test]
    fn every_run_has_a_line_and_a_legend() {
        let run = |name: &str, step: u64| {
            let mut recorder = Recorder::of_ns();
            (1..=1_000).for_each(|n| recorder.record_ns(Instant::now(), n * step));
            Named { name: name.into(), samples: recorder.finish() }
        };
        let svg = draw("commit", &[run("in-flight-1", 100), run("in-flight-16", 900)]).expect("a picture");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("in-flight-1\n") && svg.contains("in-flight-16\n"));
        assert!(svg.matches("<polyline").count() >= 2);
    }

    #[test]
    fn a_run_without_samples_draws_an_empty_plot() {
        let samples = Recorder::of_ns().finish();
        assert!(draw("put", &[Named { name: "empty".into(), samples }]).is_ok());
    }

    #[test]
    fn rarities_are_written_as_percentiles() {
        assert_eq!(percentile_text(&1.0), "0 %");
        assert_eq!(percentile_text(&10.0), "90 %");
        assert_eq!(percentile_text(&10_000.0), "99.99 %");
    }
}
