//! One log on a disk without memory of its past, opened and crashed thousands of times: cut off, damaged, repaired.
//! Prints how many openings a second a simulator may count on.

mod support;

use std::time::Instant;

use io_oi_wal::sim_disk::{Image, Options, Random, SimDisk};
use io_oi_wal::{AppendError, Config, Wal};
use support::sim::{frame, small_config};

const LIVES: usize = if cfg!(debug_assertions) { 1_500 } else { 10_000 };

#[test]
fn what_was_acknowledged_outlives_every_crash_unless_it_rots() {
    let config = Config { segment_bytes: 64 << 10, places_max: 16, ..small_config() };
    let (mut rots, mut cuts, mut repairs) = (0, 0, 0);
    let started = Instant::now();
    for seed in 0..LIVES as u64 / 30 {
        let mut random = Random(seed);
        let mut image = Image::default();
        let mut acknowledged = Vec::new();
        for _ in 0..30 {
            let options = Options {
                history: false,
                polls_max: random.next() % 3,
                ..Options::new(random.next(), config.buffer_bytes)
            };
            let is_rotten = !acknowledged.is_empty() && random.next().is_multiple_of(6);
            if is_rotten {
                rots += 1;
                image.flip_bit(&mut random);
            }
            let disk = SimDisk::from_image(image, options);
            let mut frames: Vec<u64> = Vec::new();
            let opened = Wal::open_repairing_on(disk.clone(), config.clone(), |_, frame| {
                frames.push(u64::from_le_bytes(frame.bytes[..8].try_into().unwrap()));
                Ok(())
            });
            let Ok((mut wal, recovered)) = opened else {
                // One bit of the version number: a file of a later release, for all one can know.
                assert!(is_rotten);
                image = Image::default();
                acknowledged.clear();
                continue;
            };
            repairs += usize::from(recovered.damage.is_some());
            let kept = frames.len().min(acknowledged.len());
            assert_eq!(frames[..kept], acknowledged[..kept], "seed {seed}");
            if recovered.damage.is_none() && !is_rotten {
                assert!(frames.len() >= acknowledged.len(), "seed {seed}: acknowledged frames are lost");
            }
            acknowledged = live(&mut wal, frames, &mut random);
            let manner = random.next();
            cuts += 1;
            image = disk.power_cut(|_| match manner % 3 {
                0 => false,
                1 => true,
                _ => random.next().is_multiple_of(2),
            });
        }
    }
    let per_second = cuts as f64 / started.elapsed().as_secs_f64();
    println!(
        "{cuts} openings, {rots} with a flipped bit: {per_second:.0} openings a second with some 30 frames each"
    );
    assert!(cuts > LIVES / 2 && rots > LIVES / 10 && repairs > 0);
}

/// Appends a while and says what was acknowledged at the end, in order.
fn live(wal: &mut Wal<SimDisk>, mut frames: Vec<u64>, random: &mut Random) -> Vec<u64> {
    let first = wal.appended().0;
    let recovered = frames.len();
    let mut durable = wal.durable().0;
    for _ in 0..10 + random.next() % 60 {
        match random.next() % 3 {
            0 => {
                let name = random.next();
                let mut bytes = name.to_le_bytes().to_vec();
                bytes.resize(8 + (random.next() % 600) as usize, 1);
                match wal.append(frame(frames.len() as u64, &bytes)) {
                    Ok(_) => frames.push(name),
                    Err(AppendError::BatchFull | AppendError::LogFull) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            1 => wal.submit(),
            _ => durable = wal.poll().unwrap().map_or(durable, |through| through.0),
        }
    }
    frames.truncate(recovered + (durable - first) as usize);
    frames
}
