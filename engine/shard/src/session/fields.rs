//! The table of sessions as fields of a checkpoint.
//!
//! Invariant: it holds what is committed and nothing else, and a table that takes it goes on like the one that wrote it,
//! evictions included: those follow from the places of records, not from the places in memory. [P-72]

use alloc::vec::Vec;

use io_oi_record::fields::{FieldError, FieldReader, FieldWriter, field_rule};
use io_oi_record::limits::SESSION_FLOORS_MAX;
use io_oi_record::{Durability, NodeTag, RefusalCode, Sequence, SessionId, SessionSequence};

use super::floors::Floor;
use super::rings::{PACKED_WORDS, Packed};
use super::{Floors, Sessions, Slot};

impl Sessions {
    /// Takes everything back that is not committed.
    pub(crate) fn take_back_all(&mut self) {
        while !self.journal.is_empty() {
            self.undo_last();
        }
    }

    /// Puts the table behind the fields that are there. Nothing in it may be taken back any more.
    pub(crate) fn write(&self, out: &mut FieldWriter) {
        assert!(self.journal.is_empty(), "only what is committed is written");
        out.count(self.sessions_max);
        out.count(self.rings.window());
        out.number(self.evicted_count);
        self.floors.write(out);
        out.count(self.known_count);
        let mut known: Vec<(usize, &Slot)> =
            self.slots.iter().enumerate().filter(|(_, slot)| slot.is_known).collect();
        known.sort_unstable_by_key(|(_, slot)| slot.id);
        for (ring, slot) in known {
            out.raw(&slot.id.to_bytes());
            write_packed(out, &slot.opened);
            out.option(slot.closed.as_ref(), write_packed);
            out.number(slot.highest.0);
            out.number(slot.forgotten_through.0);
            out.sequence(slot.last_record);
            out.count(slot.answer_count);
            for answer in 0..slot.answer_count {
                write_packed(out, self.rings.get(ring, slot.oldest + answer));
            }
        }
    }

    /// Fills an empty table with what [`Sessions::write`] wrote for one of the same size.
    pub(crate) fn read(&mut self, fields: &mut FieldReader<'_>) -> Result<(), FieldError> {
        assert!(self.slots.is_empty(), "a table is filled once");
        let (sessions_max, window) = (fields.number()?, fields.number()?);
        let is_alike = sessions_max == self.sessions_max as u64 && window == self.rings.window() as u64;
        field_rule(is_alike, "it was written with other limits for sessions")?;
        self.evicted_count = fields.number()?;
        self.floors = Floors::read(fields)?;
        let session_count = fields.count(self.sessions_max, SESSION_BYTES)?;
        for _ in 0..session_count {
            self.read_session(fields)?;
        }
        Ok(())
    }

    fn read_session(&mut self, fields: &mut FieldReader<'_>) -> Result<(), FieldError> {
        let id = read_session_id(fields)?;
        field_rule(self.find(id).is_none(), "a session is there twice")?;
        let opened = read_packed(fields)?;
        let closed = fields.option(read_packed)?;
        let (highest, forgotten_through) = (fields.number()?, fields.number()?);
        let last_record = fields.sequence()?;
        let answers: Vec<Packed> = fields.list(self.rings.window(), 8 * PACKED_WORDS, read_packed)?;
        let rises = answers.windows(2).all(|pair| pair[0][0] < pair[1][0]);
        let is_behind = answers.first().is_none_or(|oldest| oldest[0] > forgotten_through);
        field_rule(rises && is_behind, "answers of a session are out of order")?;
        let newest = answers.last().map_or(forgotten_through, |newest| newest[0]);
        field_rule(newest <= highest, "an answer is newer than its session")?;
        let slot = self.slots.len();
        for (place, answer) in answers.iter().enumerate() {
            self.rings.set(slot, place, *answer);
        }
        self.slots.push(Slot {
            id,
            is_known: true,
            opened,
            closed,
            highest: SessionSequence(highest),
            forgotten_through: SessionSequence(forgotten_through),
            oldest: 0,
            answer_count: answers.len(),
            last_record,
            declined: SessionSequence::NONE,
        });
        self.known_count += 1;
        self.index.insert(id, slot);
        Ok(())
    }
}

impl Floors {
    fn write(&self, out: &mut FieldWriter) {
        for floor in &self.floors {
            out.raw(&floor.session.to_bytes());
            out.sequence(floor.raised_at);
        }
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self, FieldError> {
        let mut floors = Self::new();
        for place in 0..SESSION_FLOORS_MAX {
            let floor = Floor { session: read_session_id(fields)?, raised_at: fields.sequence()? };
            let is_known = !floor.raised_at.is_none() && floors.place_of(floor.session.node).is_some();
            field_rule(!is_known, "a node has two floors")?;
            floors.floors[place] = floor;
        }
        Ok(floors)
    }
}

fn read_session_id(fields: &mut FieldReader<'_>) -> Result<SessionId, FieldError> {
    let (node, boot, counter) = (fields.array()?, fields.array()?, fields.array()?);
    let node = NodeTag(u64::from_le_bytes(node));
    Ok(SessionId { node, boot: u32::from_le_bytes(boot), counter: u32::from_le_bytes(counter) })
}

fn write_packed(out: &mut FieldWriter, packed: &Packed) {
    packed.iter().for_each(|word| out.number(*word));
}

fn read_packed(fields: &mut FieldReader<'_>) -> Result<Packed, FieldError> {
    let mut packed = [0; PACKED_WORDS];
    for word in &mut packed {
        *word = fields.number()?;
    }
    let last = packed[PACKED_WORDS - 1];
    let is_refusal = last as u32 == 0 || RefusalCode::from_code(last as u32).is_ok();
    let is_level = Durability::ALL.into_iter().any(|level| level as u64 == last >> 32);
    field_rule(is_refusal && is_level && packed[1] > Sequence::NONE.0, "an answer is not one")?;
    Ok(packed)
}

/// A session without answers as fields, at least.
const SESSION_BYTES: usize = SessionId::BYTES + 8 * PACKED_WORDS + 1 + 4 * 8;
