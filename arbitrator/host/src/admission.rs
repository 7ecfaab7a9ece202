//! Runs a component for the first time, and decides whether it may ever judge.
//!
//! Invariant: an [`Arbitrator`] exists only for a component that was opened, scanned, sealed, compiled, set up, has
//! described itself within the limits, and has answered one question twice in the same way.

use std::sync::Arc;

use io_oi_arbitrator_sdk::{Context, Write};
use io_oi_record::Hash;
use io_oi_record::hash::Domain;
use wasmtime::Module;

use crate::component::{self, World};
use crate::engine::Engine;
use crate::limits::SEALED_COMPONENT_BYTES_MAX;
use crate::manifest::Manifest;
use crate::refusal::Refusal;
use crate::seal::{Sealed, seal};
use crate::sealed::{Instance, Judge};

/// A component that may judge. Cheap to clone; one for a node, from which every core makes its own [`Judge`].
#[derive(Clone, Debug)]
pub struct Arbitrator(Arc<Admitted>);

#[derive(Debug)]
struct Admitted {
    hash: Hash,
    world: World,
    manifest: Manifest,
    module: Module,
    globals: usize,
}

impl Arbitrator {
    /// Admits a component, or a core module that carries the contract's exports. Compiles: some milliseconds.
    ///
    /// # Errors
    ///
    /// Says what the component would have to be like.
    pub fn admit(engine: &Engine, bytes: &[u8]) -> Result<Arbitrator, Refusal> {
        if bytes.len() > SEALED_COMPONENT_BYTES_MAX {
            return Err(Refusal::TooLong { bytes: bytes.len() });
        }
        let opened = component::open(bytes)?;
        let Sealed { wasm, globals } = seal(opened.core)?;
        let module = Module::new(&engine.sealed, &wasm)
            .map_err(|error| Refusal::Compile { text: error.root_cause().to_string() })?;
        let manifest = Instance::new(&module, opened.world, globals)?.describe(opened.world)?;
        let hash = Domain::Arbitrator.hash(bytes);
        let admitted = Admitted { hash, world: opened.world, manifest, module, globals };
        let arbitrator = Arbitrator(Arc::new(admitted));
        arbitrator.check_is_steady()?;
        Ok(arbitrator)
    }

    /// The name of a component: the hash of its bytes.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Which world of the contract it has.
    #[must_use]
    pub fn world(&self) -> World {
        self.0.world
    }

    /// A judge for one core: compiled code is shared, memory is not. Allocates; at boot only.
    ///
    /// # Panics
    ///
    /// When the operating system has no memory left for an instance that it had at admission.
    #[must_use]
    pub fn judge(&self) -> Judge {
        let instance = self.instance().expect("a component that was set up at admission is set up again");
        Judge::new(instance, self.0.manifest.clone())
    }

    fn instance(&self) -> Result<Instance, Refusal> {
        Instance::new(&self.0.module, self.0.world, self.0.globals)
    }

    /// The same question, to one judge twice and to another.
    fn check_is_steady(&self) -> Result<(), Refusal> {
        let (mut one, mut other) = (self.judge(), self.judge());
        let mut room = [0; 64];
        let write = Write { key: b"a/b/c", value: b"01234567", is_delete: false };
        let length = write.encode(&mut room).expect("a small write has room");
        let first = one.fingerprint(&Context::default(), &room[..length]);
        let is_steady = first == one.fingerprint(&Context::default(), &room[..length])
            && first == other.fingerprint(&Context::default(), &room[..length]);
        if is_steady { Ok(()) } else { Err(Refusal::Unsteady) }
    }
}
