//! Peers that come and go are daily life: the log says nothing that an operator must look at.
//!
//! Invariant: alone in its process, because tracing asks a call site only once whether anybody listens.

mod cable;

use cable::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what an operator would take for a fault of the program.
struct Complaints(Arc<AtomicUsize>);

impl tracing::Subscriber for Complaints {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}

    fn event(&self, _event: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

#[test]
fn losing_and_finding_peers_is_no_complaint() {
    let count = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Complaints(count.clone()), || {
        let mut world = World::new(3);
        world.connect();
        for _ in 0..3 {
            for index in 0..3 {
                world.kill(index);
                world.run_ms(1_500);
                world.start(index);
                assert!(world.run_until(1_000, |world| world.is_connected()));
                world.kill(index);
                world.start(index);
                assert!(world.run_until(2_000, |world| world.is_connected()));
            }
        }
        world.places[2] = None;
        world.run_ms(100);
    });
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
