//! Power is cut after every single event of a log's life, with every kind of loss of what was not flushed.

mod support;

use io_oi_wal::sim_disk::{Event, Fragment, Image, Options, Random, SimDisk};
use support::sim::{Life, recover_and_check, recover_twice_and_check, small_config};

/// Unflushed pieces up to this number are lost in every combination; more of them in sampled ones.
const EXHAUSTIVE_FRAGMENTS_MAX: usize = 5;
const SAMPLES: u64 = 4;

#[test]
fn every_prefix_of_a_life_recovers_what_was_acknowledged() {
    let mut cuts = 0;
    for seed in 0..6 {
        let life = a_life(seed, 150);
        assert!(life.wal.stats().segments_filled >= 2, "the life fills several segments");
        let history = life.disk.history();
        for count in 0..=history.len() {
            let acknowledged = life.acknowledged_at(count);
            for_each_power_cut(&life.disk.start(), &history[..count], seed, |image, loss| {
                let what = format!("seed {seed}, cut after event {count}, {loss}");
                recover_twice_and_check(image, &small_config(), &life.appended, acknowledged, &what);
                cuts += 1;
            });
        }
    }
    assert!(cuts > 2000, "the cuts were made: {cuts}");
}

#[test]
fn a_second_cut_during_recovery_loses_nothing_either() {
    for seed in 20..24 {
        let life = a_life(seed, 30);
        let history = life.disk.history();
        let mut random = Random(seed);
        for _ in 0..12 {
            let count = random.next() as usize % (history.len() + 1);
            let mut chance = Random(random.next());
            let image = Image::after_power_cut(&life.disk.start(), &history[..count], |_| {
                chance.next().is_multiple_of(2)
            });
            let acknowledged = life.acknowledged_at(count);
            let what = format!("seed {seed}, first cut after event {count}");
            let again =
                recover_and_check(image.clone(), &small_config(), &life.appended, acknowledged, &what);
            let recovery = again.disk.history();
            for second in 0..=recovery.len() {
                for_each_power_cut(&image, &recovery[..second], seed, |image, loss| {
                    let what = format!("{what}, second cut after event {second} of recovery, {loss}");
                    recover_twice_and_check(image, &small_config(), &life.appended, acknowledged, &what);
                });
            }
        }
    }
}

#[test]
fn what_one_recovery_handed_out_every_later_one_hands_out() {
    for seed in 40..60 {
        let life = a_life(seed, 25);
        let history = life.disk.history();
        let mut random = Random(seed);
        let count = random.next() as usize % (history.len() + 1);
        // A killed process: everything written is still in the device's cache, nothing of it flushed.
        let killed = Image::after_power_cut(&life.disk.start(), &history[..count], |_| true);
        let cached = SimDisk::from_image(
            Image::after_power_cut(&life.disk.start(), &history[..count], |_| false),
            Options::new(1, small_config().buffer_bytes),
        );
        let what = format!("seed {seed}, killed after event {count}");
        let first =
            recover_and_check(killed, &small_config(), &life.appended, life.acknowledged_at(count), &what);
        let flushed = first.disk.history().iter().any(|event| matches!(event, Event::Flushed { .. }));
        assert!(flushed, "{what}: recovery flushes what it read before anyone acts on it");
        drop(cached);
        let image = Image::after_power_cut(&first.disk.start(), &first.disk.history(), |_| false);
        recover_and_check(image, &small_config(), &life.appended, first.appended.len(), &what);
    }
}

fn a_life(seed: u64, frames: usize) -> Life {
    let options = Options { polls_max: seed % 4, ..Options::new(seed, small_config().buffer_bytes) };
    let mut life = Life::open(SimDisk::new(options), &small_config()).unwrap();
    life.live(seed, frames).unwrap();
    assert_eq!(life.acknowledged_now(), life.appended.len());
    life
}

/// Calls back with what each way of losing unflushed bytes leaves.
fn for_each_power_cut(start: &Image, events: &[Event], seed: u64, mut check: impl FnMut(Image, String)) {
    let mut fragments: Vec<Fragment> = Vec::new();
    let none = Image::after_power_cut(start, events, |fragment| {
        fragments.push(fragment);
        false
    });
    check(none, "nothing unflushed kept".to_owned());
    if fragments.is_empty() {
        return;
    }
    if fragments.len() <= EXHAUSTIVE_FRAGMENTS_MAX {
        for kept in 1u32..1 << fragments.len() {
            let image = cut(start, events, |number| kept & (1 << number) != 0);
            check(image, format!("pieces {kept:b} kept"));
        }
        return;
    }
    check(cut(start, events, |_| true), "everything kept".to_owned());
    check(cut(start, events, |number| number < fragments.len() / 2), "the first half kept".to_owned());
    check(cut(start, events, |number| number > 0), "all but the first kept".to_owned());
    check(cut(start, events, |number| number + 1 < fragments.len()), "all but the last kept".to_owned());
    check(cut(start, events, |number| number == 0), "only the first kept".to_owned());
    for sample in 0..SAMPLES {
        let mut random = Random(seed ^ sample << 32 ^ events.len() as u64);
        check(cut(start, events, |_| random.next().is_multiple_of(2)), format!("sample {sample} kept"));
    }
}

fn cut(start: &Image, events: &[Event], mut keep: impl FnMut(usize) -> bool) -> Image {
    let mut number = 0;
    Image::after_power_cut(start, events, |_| {
        number += 1;
        keep(number - 1)
    })
}
