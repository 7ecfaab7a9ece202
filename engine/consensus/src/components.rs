//! The bytes of arbitrators that operators have brought into the log, part by part.
//!
//! Invariant: what is stored is a function of the accepted governance records in the log: a rewind takes back what it drops,
//! and what was dropped is gone only once that is committed.

use alloc::vec::Vec;

use io_oi_record::fields::{FieldError, FieldReader, FieldWriter};
use io_oi_record::hash::Domain;
use io_oi_record::limits::{COMPONENT_BYTES_MAX, COMPONENTS_BYTES_MAX, PART_BYTES_MAX};
use io_oi_record::{Hash, Sequence};

/// The parts of all components, in log order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Components {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    component: Hash,
    stored_at: Sequence,
    dropped_at: Option<Sequence>,
    bytes: Vec<u8>,
}

impl Components {
    /// Whether the next part of a component may be stored. What is complete takes no more, and what the log drops takes no
    /// room, whether this node knows that to be committed or not: the verdict is a function of the log. [P-90]
    pub(crate) fn takes(&self, component: Hash, part: &[u8]) -> bool {
        let kept = self.parts.iter().filter(|part| part.dropped_at.is_none());
        let all: usize = kept.map(|part| part.bytes.len()).sum();
        self.bytes_stored(component) + part.len() <= COMPONENT_BYTES_MAX
            && all + part.len() <= COMPONENTS_BYTES_MAX
            && !self.is_complete(component)
    }

    pub(crate) fn store(&mut self, sequence: Sequence, component: Hash, part: &[u8]) {
        let bytes = part.to_vec();
        self.parts.push(Part { component, stored_at: sequence, dropped_at: None, bytes });
    }

    pub(crate) fn drop_at(&mut self, sequence: Sequence, component: Hash) {
        let is_it = |part: &&mut Part| part.component == component && part.dropped_at.is_none();
        self.parts.iter_mut().filter(is_it).for_each(|part| part.dropped_at = Some(sequence));
    }

    /// What was dropped through here is gone for good.
    pub(crate) fn commit_through(&mut self, sequence: Sequence) {
        self.parts.retain(|part| part.dropped_at.is_none_or(|dropped| dropped > sequence));
    }

    pub(crate) fn rewind_to(&mut self, tip: Sequence) {
        self.parts.retain(|part| part.stored_at <= tip);
        for part in &mut self.parts {
            part.dropped_at = part.dropped_at.filter(|dropped| *dropped <= tip);
        }
    }

    pub(crate) fn write(&self, out: &mut FieldWriter) {
        out.count(self.parts.len());
        for part in &self.parts {
            out.raw(&part.component.0);
            out.sequence(part.stored_at);
            out.option(part.dropped_at, FieldWriter::sequence);
            out.bytes(&part.bytes);
        }
    }

    pub(crate) fn read(fields: &mut FieldReader<'_>) -> Result<Self, FieldError> {
        let parts = fields.list(usize::MAX, PART_FIELDS_BYTES, |fields| {
            Ok(Part {
                component: fields.hash()?,
                stored_at: fields.sequence()?,
                dropped_at: fields.option(FieldReader::sequence)?,
                bytes: fields.bytes(PART_BYTES_MAX)?.to_vec(),
            })
        })?;
        Ok(Self { parts })
    }

    pub(crate) fn bytes_stored(&self, component: Hash) -> usize {
        self.of(component).map(<[u8]>::len).sum()
    }

    pub(crate) fn is_complete(&self, component: Hash) -> bool {
        let parts: Vec<&[u8]> = self.of(component).collect();
        Domain::Arbitrator.hash_parts(&parts) == component
    }

    /// The whole component; `None` while it is not.
    pub(crate) fn bytes(&self, component: Hash) -> Option<Vec<u8>> {
        self.is_complete(component).then(|| self.of(component).flatten().copied().collect())
    }

    fn of(&self, component: Hash) -> impl Iterator<Item = &[u8]> {
        let is_it = move |part: &&Part| part.component == component && part.dropped_at.is_none();
        self.parts.iter().filter(is_it).map(|part| part.bytes.as_slice())
    }
}

/// A part as fields, at least.
const PART_FIELDS_BYTES: usize = 32 + 8 + 1 + 8;
