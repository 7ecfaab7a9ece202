//! A moving line for what takes long: how far the logs of all shards are read.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use io_oi_record::ShardId;

use crate::output::is_watched;

/// Appears only on a terminal, and only when it takes a while.
pub(crate) struct Bar {
    /// What is being done.
    title: &'static str,
    began: Instant,
    /// Bytes read, and bytes in all, of each shard.
    shards: Vec<(u64, u64)>,
    bar: Option<ProgressBar>,
}

impl Bar {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, began: Instant::now(), shards: Vec::new(), bar: None }
    }

    /// A shard has come to `bytes` of at most `bytes_max`.
    pub(crate) fn show(&mut self, shard: ShardId, bytes: u64, bytes_max: u64) {
        let index = shard.index();
        if self.shards.len() <= index {
            self.shards.resize(index + 1, (0, 0));
        }
        self.shards[index] = (bytes, bytes_max);
        if self.bar.is_none() && is_watched() && self.began.elapsed() >= BAR_AFTER {
            let style = "{msg} {wide_bar} {bytes} of at most {total_bytes}, {bytes_per_sec}";
            let style = ProgressStyle::with_template(style).expect("a fixed template");
            self.bar = Some(ProgressBar::new(0).with_style(style).with_message(self.title));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(self.shards.iter().map(|(_, bytes_max)| bytes_max).sum());
            bar.set_position(self.shards.iter().map(|(bytes, _)| bytes).sum());
        }
    }

    pub(crate) fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is shorter needs no moving line.
const BAR_AFTER: Duration = Duration::from_secs(1);
