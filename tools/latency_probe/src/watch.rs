//! The hidden watching process: sees values of one key, and says how old each was when first seen.
//!
//! It prints a line once it is attached, and one line of nanoseconds per value when its standard input ends.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::answers::scramble;
use crate::clock::monotonic_ns;
use crate::failure::Failure;
use crate::node_run::die_with_parent;
use crate::nodes;

/// The key that is watched.
pub(crate) const KEY: &str = "probe/visible";

/// A value that says when it was put, and that it is whole.
pub(crate) fn fill(value: &mut [u8], put_ns: u64) {
    value[..8].copy_from_slice(&put_ns.to_le_bytes());
    for (index, chunk) in value[8..].chunks_mut(8).enumerate() {
        let word = scramble(put_ns ^ index as u64).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// When it was put, if it is whole.
fn put_ns_of(value: &[u8]) -> Option<u64> {
    let put_ns = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
    let mut wanted = vec![0; value.len()];
    fill(&mut wanted, put_ns);
    (wanted == value).then_some(put_ns)
}

/// Watches until the probe closes our standard input.
pub(crate) fn run(key: &str, socket: &Path) -> Result<(), Failure> {
    die_with_parent();
    let mut client = nodes::attach(socket, "latency-probe watch", Duration::from_secs(5))?;
    let over = Arc::new(AtomicBool::new(false));
    end_with_input(over.clone());
    say("r")?;
    let (mut lines, mut value, mut seen) = (String::from("\n"), Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        for _ in 0..READS_PER_YIELD {
            let found = client.get(key.as_bytes(), &mut value);
            let found = found.map_err(|error| Failure::Refused(error.to_string()))?;
            let Some(meta) = found.filter(|meta| meta.sequence.0 > seen) else { continue };
            let now = monotonic_ns();
            seen = meta.sequence.0;
            match put_ns_of(&value) {
                Some(put_ns) => lines += &format!("{}\n", now.saturating_sub(put_ns)),
                None => lines += "torn\n",
            }
        }
        // Two cores carry the node's shard, the putting process and this one.
        rustix::thread::sched_yield();
    }
    say(&lines)
}

fn end_with_input(over: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // An error is an end as well.
        let _ = std::io::stdin().read_to_end(&mut rest);
        over.store(true, Ordering::Relaxed);
    });
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::io("telling the probe what was seen"))
}

const READS_PER_YIELD: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_value_is_not_taken_for_a_stamp() {
        let mut value = [0; 64];
        fill(&mut value, 1_234);
        assert_eq!(put_ns_of(&value), Some(1_234));
        value[63] ^= 1;
        assert_eq!(put_ns_of(&value), None);
    }
}
