//! What the tests of this folder share.

#![allow(dead_code, unreachable_pub)]

pub mod child;
pub mod mount;
pub mod repair;
pub mod sim;

use std::path::Path;

use io_oi_wal::{BUFFER_BYTES_MIN, Config, Recovered, StrategyWish, Wal};

/// The cluster of all tests.
pub const CLUSTER: [u8; 32] = [0xC1; 32];

/// A small log on a real disk.
pub fn real_config(strategy: StrategyWish) -> Config {
    Config {
        segment_bytes: 8 << 20,
        segments_ahead: 1,
        buffer_bytes: (2 * BUFFER_BYTES_MIN).next_multiple_of(4096),
        strategy,
        ..Config::new(CLUSTER, 3)
    }
}

/// Bytes that only this number has.
pub fn frame_of(number: u64) -> Vec<u8> {
    let bytes = (number * 37 % 900) as usize + 8;
    let mut frame = number.to_le_bytes().to_vec();
    frame.extend((8..bytes).map(|at| (number as usize * 31 + at * 7) as u8));
    frame
}

/// Every frame of a log on a real disk, as sequence and bytes.
pub fn recover_all(directory: &Path, config: &Config) -> (Vec<(u64, Vec<u8>)>, Recovered) {
    let mut frames = Vec::new();
    let (_, recovered) = Wal::open(directory, config.clone(), |_, frame| {
        frames.push((frame.sequence, frame.bytes.to_vec()));
        Ok(())
    })
    .unwrap();
    (frames, recovered)
}

/// Whether a log can be opened here with io_uring; prints why not.
pub fn skip_without_device(directory: &Path) -> bool {
    let attempt = Wal::open(directory.join("probe"), real_config(StrategyWish::Linked), |_, _| Ok(()));
    match attempt {
        Ok(_) => false,
        Err(error) => {
            println!("skipped: no io_uring log in {}: {error}", directory.display());
            true
        }
    }
}
