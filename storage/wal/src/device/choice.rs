//! Choosing how to make writes durable: measured at boot, on the log's own disk, with the polling on.
//!
//! Invariant: the choice follows the tail first, and its reason carries the figures.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Writer;
use super::directory::Directory;
use super::preparer::write_all;
use super::transfer::Failure;
use crate::config::{Strategy, StrategyWish};
use crate::device::buffer::AlignedBuffer;
use crate::disk::Operation;
use crate::limits::SECTOR_BYTES;

/// Appends measured for each strategy, in rounds that take turns, so that a neighbour's burst meets all alike.
const ROUNDS: usize = 4;
const APPENDS_PER_ROUND: usize = 16;
/// No boot waits longer than this for the figures.
const TIME_MAX: Duration = Duration::from_millis(200);
/// Tails within a quarter of each other are equal; then the median decides.
const TAIL_TOLERANCE: f64 = 1.25;
const SCRATCH_SECTORS: usize = 16;

/// What one strategy did.
struct Figures {
    strategy: Strategy,
    writer: Writer,
    ns: Vec<u64>,
}

/// The strategy to use and why.
pub(crate) fn choose(directory: &Directory, wish: StrategyWish) -> Result<(Strategy, String), Failure> {
    match wish {
        StrategyWish::Linked => Ok((Strategy::Linked, "configured".to_owned())),
        StrategyWish::Fua => Ok((Strategy::Fua, "configured".to_owned())),
        StrategyWish::Thread => Ok((Strategy::Thread, "configured".to_owned())),
        StrategyWish::Auto => measure(directory),
    }
}

fn measure(directory: &Directory) -> Result<(Strategy, String), Failure> {
    let io = |error| (Operation::Setup, error);
    let file = directory.create_scratch().map_err(io)?;
    let zeros = AlignedBuffer::new(SCRATCH_SECTORS * SECTOR_BYTES);
    let measured = write_all(&file, zeros.bytes(), 0)
        .and_then(|()| file.sync_all())
        .map_err(io)
        .and_then(|()| measure_on_scratch(directory));
    drop(file);
    directory.remove_scratch().map_err(io)?;
    measured
}

fn measure_on_scratch(directory: &Directory) -> Result<(Strategy, String), Failure> {
    let fua = directory.has_fua();
    let mut unavailable = String::new();
    let mut candidates = Vec::new();
    for strategy in [Strategy::Linked, Strategy::Fua, Strategy::Thread] {
        if strategy == Strategy::Fua && !fua {
            unavailable.push_str("; fua not tried: the device has no FUA");
            continue;
        }
        match open_candidate(directory, strategy) {
            Ok(writer) => candidates.push(Figures { strategy, writer, ns: Vec::new() }),
            Err((_, error)) => {
                write!(unavailable, "; {strategy} unavailable: {error}").expect("a String takes it")
            }
        }
    }
    let started = Instant::now();
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            for append in 0..APPENDS_PER_ROUND {
                if started.elapsed() > TIME_MAX {
                    break;
                }
                candidate.ns.push(append_once(&mut candidate.writer, append)?);
            }
        }
    }
    let figures: Vec<(Strategy, Vec<u64>)> = candidates.into_iter().map(|c| (c.strategy, c.ns)).collect();
    Ok(decide(figures, &unavailable))
}

fn open_candidate(directory: &Directory, strategy: Strategy) -> Result<Writer, Failure> {
    let mut writer = Writer::new(strategy, SECTOR_BYTES)?;
    let file = directory.open_scratch().map_err(|error| (Operation::Setup, error))?;
    writer.activate(file).map_err(|error| (Operation::Setup, error))?;
    Ok(writer)
}

fn append_once(writer: &mut Writer, append: usize) -> Result<u64, Failure> {
    let since = Instant::now();
    writer.submit(append % 2, ((append % SCRATCH_SECTORS) * SECTOR_BYTES) as u64, SECTOR_BYTES)?;
    while !writer.poll()? {}
    Ok(since.elapsed().as_nanos() as u64)
}

/// The best by tail, then by median. Tail is the third largest of 64: a single hiccup of the machine decides nothing.
fn decide(mut figures: Vec<(Strategy, Vec<u64>)>, unavailable: &str) -> (Strategy, String) {
    figures.retain(|(_, ns)| !ns.is_empty());
    let mut reason = String::from("measured at boot");
    let mut best: Option<(Strategy, u64, u64)> = None;
    for (strategy, mut ns) in figures {
        ns.sort_unstable();
        let (median, tail) = (ns[ns.len() / 2], ns[ns.len() * 61 / 64]);
        write!(reason, ", {strategy} p50 {} us p95 {} us", median / 1000, tail / 1000)
            .expect("a String takes it");
        let better = best.is_none_or(|(_, best_median, best_tail)| {
            let (tail, best_tail) = (tail as f64, best_tail as f64);
            tail * TAIL_TOLERANCE < best_tail || (tail < best_tail * TAIL_TOLERANCE && median < best_median)
        });
        if better {
            best = Some((strategy, median, tail));
        }
    }
    reason.push_str(unavailable);
    (best.map_or(Strategy::Thread, |(strategy, ..)| strategy), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_decides_before_the_median() {
        let linked: Vec<u64> = (0..64).map(|n| if n < 58 { 70_000 } else { 4_000_000 }).collect();
        let thread = vec![110_000; 64];
        let (strategy, reason) = decide(vec![(Strategy::Linked, linked), (Strategy::Thread, thread)], "");
        assert_eq!(strategy, Strategy::Thread);
        assert!(
            reason.contains("linked p50 70 us p95 4000 us") && reason.contains("thread p50 110 us"),
            "{reason}"
        );
    }

    #[test]
    fn equal_tails_leave_the_choice_to_the_median() {
        let figures = vec![(Strategy::Thread, vec![110_000; 64]), (Strategy::Linked, vec![100_000; 64])];
        assert_eq!(decide(figures, "").0, Strategy::Linked);
    }

    #[test]
    fn one_hiccup_decides_nothing() {
        let mut linked = vec![70_000; 64];
        linked[10] = 9_000_000;
        let figures = vec![(Strategy::Linked, linked), (Strategy::Thread, vec![110_000; 64])];
        assert_eq!(decide(figures, "").0, Strategy::Linked);
    }

    #[test]
    fn without_any_ring_the_flush_thread_is_left() {
        let (strategy, reason) = decide(Vec::new(), "; linked unavailable: no");
        assert_eq!(strategy, Strategy::Thread);
        assert!(reason.ends_with("linked unavailable: no"));
    }
}
