//! The tables as one picture: hit rates above, nanoseconds of a hit below.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::speed::{FLOOR, Figure};

/// One hit rate.
#[derive(Debug, Clone)]
pub struct Rate {
    /// As in the table.
    pub trace: &'static str,
    /// As in the table.
    pub subject: &'static str,
    /// It decides whether the aim is met; candidates and variants of our own are only shown.
    pub is_rival: bool,
    /// The share of counted requests that were answered.
    pub hit_rate: f64,
    /// What nobody can beat.
    pub bound: f64,
}

/// Writes the SVG file, and the folder that it stands in.
pub fn draw(path: &Path, rates: &[Rate], figures: &[Figure]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let area = SVGBackend::new(path, (1_200, 1_400)).into_drawing_area();
    area.fill(&WHITE)?;
    let (upper, lower) = area.split_vertically(900);
    draw_rates(&upper, rates)?;
    draw_figures(&lower, figures)?;
    area.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// One row a trace: the bound as a bar, every rival as a dot, ours as a larger one.
fn draw_rates(area: &Area<'_>, rates: &[Rate]) -> Result<(), Box<dyn Error>> {
    let traces: Vec<&[Rate]> = rates.chunk_by(|left, right| left.trace == right.trace).collect();
    area.draw_text(
        "hit rate: grey to the clairvoyant bound, circles the rivals, red io_oi",
        &("sans-serif", 18).into_text_style(area),
        (20, 10),
    )?;
    for (row, of_trace) in traces.iter().enumerate() {
        let y = 50 + 36 * row as i32;
        let x = |rate: f64| 260 + (900.0 * rate) as i32;
        area.draw_text(of_trace[0].trace, &("sans-serif", 14).into_text_style(area), (20, y - 8))?;
        area.draw(&Rectangle::new(
            [(x(0.0), y - 6), (x(of_trace[0].bound), y + 6)],
            RGBColor(220, 220, 220).filled(),
        ))?;
        for rate in of_trace.iter().filter(|rate| rate.is_rival) {
            area.draw(&Circle::new((x(rate.hit_rate), y), 4, BLUE))?;
        }
        area.draw(&Circle::new((x(of_trace[0].hit_rate), y), 5, RED.filled()))?;
    }
    Ok(())
}

/// Nanoseconds of a hit by keys, one line a subject, both axes by powers.
fn draw_figures(area: &Area<'_>, figures: &[Figure]) -> Result<(), Box<dyn Error>> {
    let hits: Vec<&Figure> = figures
        .iter()
        .filter(|figure| ["hit", FLOOR].contains(&figure.bench) && figure.threads == 1)
        .collect();
    let mut subjects: Vec<&str> = hits.iter().map(|figure| figure.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut chart = ChartBuilder::on(area)
        .caption("nanoseconds of a hit, by keys, one thread", ("sans-serif", 18))
        .margin(20)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((500_f64..20_000_000_f64).log_scale(), (10_f64..5_000_f64).log_scale())?;
    chart.configure_mesh().x_desc("keys").y_desc("ns").draw()?;
    for (index, subject) in subjects.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let points = hits.iter().filter(|figure| figure.subject == *subject);
        let points: Vec<(f64, f64)> = points.map(|figure| (figure.keys as f64, figure.ns)).collect();
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(*subject)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    Ok(())
}
