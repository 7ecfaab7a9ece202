//! Two nodes whose shards never sleep must not starve each other.

use std::time::Instant;

use crate::support::{NodeProcess, put};

#[test]
fn two_yielding_nodes_on_one_core_each_both_make_progress() {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeProcess::start(dir.path(), &["idle=yield"]);
        let mut client = node.attach();
        let mut times_us: Vec<u128> = (0..500u64)
            .map(|count| {
                let begun = Instant::now();
                assert!(put(&mut client, b"k", &count.to_le_bytes()).is_accepted());
                begun.elapsed().as_micros()
            })
            .collect();
        node.stop();
        times_us.sort_unstable();
        (times_us[250], times_us[495])
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(run), scope.spawn(run)].map(|node| node.join().unwrap());
        println!("commit p50 and p99 in microseconds, two nodes at once: {both:?}");
    });
}
