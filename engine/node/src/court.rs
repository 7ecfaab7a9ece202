//! Where components are admitted: once for a node, whichever shard meets one first.
//!
//! Invariant: a component is opened, scanned, sealed and compiled here before any shard seats it, never on a shard's own
//! thread while it serves; nothing compiled is ever read from a disk or taken from a peer.

use std::sync::{Mutex, OnceLock};

use io_oi_arbitrator::{Arbitrator, Engine, World};
use io_oi_record::Hash;

/// Who judges where nobody was seated: whatever satisfies its precondition is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl AcceptAll {
    /// What a genesis and the headers of blocks name while no prefix has an arbitrator.
    #[must_use]
    pub fn arbitrators(&self) -> Hash {
        Hash(*blake3::hash(b"accept-all").as_bytes())
    }
}

/// The components that this node has looked at, and the engine that compiles them.
#[derive(Debug, Default)]
pub(crate) struct Court {
    /// Made for the first component: a node without arbitrators pays nothing for it.
    engine: OnceLock<Engine>,
    seen: Mutex<Vec<(Hash, Looked)>>,
}

/// What became of a component: it may judge, or why not.
pub(crate) type Looked = Result<Arbitrator, String>;

impl Court {
    /// Admits a component. Compiles it, some milliseconds, if nobody did before.
    pub(crate) fn admit(&self, component: Hash, bytes: &[u8]) -> Looked {
        let mut seen = self.seen.lock().expect("whoever looked before has not panicked");
        if let Some((_, looked)) = seen.iter().find(|(known, _)| *known == component) {
            return looked.clone();
        }
        let looked = self.look(component, bytes);
        seen.push((component, looked.clone()));
        looked
    }

    fn look(&self, component: Hash, bytes: &[u8]) -> Looked {
        let engine = self.engine.get_or_init(Engine::new);
        let arbitrator = Arbitrator::admit(engine, bytes).map_err(|refusal| refusal.to_string())?;
        assert_eq!(arbitrator.hash(), component, "the log checks the hash of what is stored");
        if arbitrator.world() == World::Batch {
            return Err(
                "it judges batches, and a shard decides proposals one by one: deploy a judge of single \
                proposals"
                    .to_owned(),
            );
        }
        Ok(arbitrator)
    }
}
