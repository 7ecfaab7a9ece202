//! Where components are admitted: once for a node, whichever shard meets one first.
//!
//! Invariant: a component is opened, scanned, sealed and compiled here before any shard seats it, never on a shard's own
//! thread while it serves; nothing compiled is ever read from a disk or taken from a peer.

use std::sync::{Arc, Mutex, OnceLock};

use io_oi_arbitrator::{Arbitrator, Engine, GeneralJudge, Manifest, World};
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
pub(crate) type Looked = Result<Admitted, String>;

/// A component that may judge here, in the tier that takes it: the same on every node, since it depends on its bytes alone.
#[derive(Clone, Debug)]
pub(crate) enum Admitted {
    /// One instance a shard, put back after every decision.
    Sealed(Arbitrator),
    /// A fresh instance for every decision.
    General(Arc<GeneralJudge>),
}

impl Admitted {
    /// What it says of itself.
    pub(crate) fn manifest(&self) -> &Manifest {
        match self {
            Admitted::Sealed(arbitrator) => arbitrator.manifest(),
            Admitted::General(judge) => judge.manifest(),
        }
    }

    /// Which world of the contract it has.
    pub(crate) fn world(&self) -> World {
        match self {
            Admitted::Sealed(arbitrator) => arbitrator.world(),
            Admitted::General(_) => World::Single,
        }
    }

    /// As operators call its tier.
    pub(crate) const fn tier(&self) -> &'static str {
        match self {
            Admitted::Sealed(_) => "sealed",
            Admitted::General(_) => "general",
        }
    }
}

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
        let arbitrator = match Arbitrator::admit(engine, bytes) {
            Ok(arbitrator) => arbitrator,
            Err(refusal) => return general(engine, bytes, &refusal.to_string()),
        };
        assert_eq!(arbitrator.hash(), component, "the log checks the hash of what is stored");
        if arbitrator.world() == World::Batch {
            return Err(
                "it judges batches, and a shard decides proposals one by one: deploy a judge of single \
                proposals"
                    .to_owned(),
            );
        }
        Ok(Admitted::Sealed(arbitrator))
    }
}

/// What cannot be sealed may judge in the general tier, if it does not think for longer than a shard can wait.
fn general(engine: &Engine, bytes: &[u8], not_sealed: &str) -> Looked {
    let admitted = GeneralJudge::admit(engine, bytes).and_then(|judge| {
        judge.check_seatable()?;
        Ok(Admitted::General(Arc::new(judge)))
    });
    admitted.map_err(|refusal| format!("not sealed: {not_sealed}; not in the general tier: {refusal}"))
}
