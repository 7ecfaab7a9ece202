//! What a log has told the core, as fields: a checkpoint carries them, so that a boot need not read what lies before it.
//!
//! Invariant: a machine that takes these fields goes on as the one that wrote them would have, entry by entry. Only a machine
//! that reads its log writes them: it has no role and no votes of others. [P-72]

use alloc::vec::Vec;

use io_oi_record::fields::{FieldError, FieldReader, FieldWriter, field_rule};
use io_oi_record::limits::MEMBERS_MAX;
use io_oi_record::{BlockHeader, Epoch, HEADER_BYTES, Hash, NodeId, Sequence};

use crate::chain::{Chain, ChainTip, Link};
use crate::epoch::{EpochLife, Role};
use crate::machine::{Machine, Points};
use crate::membership::Membership;
use crate::position::Positions;
use crate::recovery::Unsealed;

/// The state of a core that reads its log, without the members: those follow from the governance.
#[derive(Debug)]
pub struct State {
    life: Life,
    links: Vec<Link>,
    own_held: Sequence,
    own_durable: Sequence,
    held: Positions,
    durable: Positions,
    points: Points,
    waiting: Vec<BlockHeader>,
    superseded: Vec<Hash>,
    former: Vec<NodeId>,
    unclaimed: Option<Epoch>,
}

/// What of its epochs a log knows.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) closed: Epoch,
    pub(crate) promised: Epoch,
    pub(crate) promised_to: Option<NodeId>,
    pub(crate) is_mute: bool,
    pub(crate) claimed: Vec<Epoch>,
    pub(crate) claims_lost_through: Epoch,
}

impl Machine {
    /// The state, as far as the log has been read.
    ///
    /// # Panics
    ///
    /// When the machine has begun to take part.
    #[must_use]
    pub fn state(&self) -> State {
        assert!(matches!(self.role(), Role::Idle | Role::Mute), "a state is taken while the log is read");
        let (waiting, superseded) = self.unsealed.parts();
        State {
            life: self.life.recovered(),
            links: self.chain.links().copied().collect(),
            own_held: self.own_held,
            own_durable: self.own_durable,
            held: self.held,
            durable: self.durable,
            points: self.points,
            waiting,
            superseded,
            former: self.former.clone(),
            unclaimed: self.unclaimed,
        }
    }

    /// Goes on from a state; the members are those in effect there.
    ///
    /// # Panics
    ///
    /// When something was read before.
    pub fn restore(&mut self, state: State, members: Membership) {
        assert_eq!(self.chain.tip(), &ChainTip::ORIGIN, "a state is taken over before anything is read");
        self.own = members.voter_index(self.group.node);
        self.members = members;
        self.life = EpochLife::restored(state.life);
        self.chain = Chain::restored(state.links);
        (self.own_held, self.own_durable) = (state.own_held, state.own_durable);
        (self.held, self.durable, self.points) = (state.held, state.durable, state.points);
        self.unsealed = Unsealed::restored(&state.waiting, state.superseded);
        (self.former, self.unclaimed) = (state.former, state.unclaimed);
    }
}

impl State {
    /// Through which sequence the log had proven everything to be committed.
    #[must_use]
    pub fn committed(&self) -> Sequence {
        self.points.disk_quorum
    }

    /// The newest header.
    #[must_use]
    pub fn tip(&self) -> &ChainTip {
        &self.links.last().expect("a state has a link").tip
    }

    /// The block that ends at `last`, if it is remembered.
    #[must_use]
    pub fn link_ending_at(&self, last: Sequence) -> Option<&Link> {
        let place = self.links.binary_search_by_key(&last, |link| link.tip.sequence).ok()?;
        self.links.get(place)
    }

    /// Puts it behind the fields that are there.
    pub fn write(&self, out: &mut FieldWriter) {
        self.life.write(out);
        out.count(self.links.len());
        for link in &self.links {
            write_link(out, link);
        }
        out.sequence(self.own_held);
        out.sequence(self.own_durable);
        for positions in [&self.held, &self.durable] {
            positions.all().iter().for_each(|through| out.sequence(*through));
        }
        out.sequence(self.points.mem_quorum);
        out.sequence(self.points.disk_quorum);
        out.sequence(self.points.certified);
        out.count(self.waiting.len());
        self.waiting.iter().for_each(|header| out.raw(&header.encode()));
        out.count(self.superseded.len());
        self.superseded.iter().for_each(|hash| out.raw(&hash.0));
        out.count(self.former.len());
        self.former.iter().for_each(|node| out.raw(&node.0));
        out.option(self.unclaimed, FieldWriter::epoch);
    }

    /// Reads what [`State::write`] wrote, and refuses what no machine writes.
    pub fn read(fields: &mut FieldReader<'_>) -> Result<State, FieldError> {
        let life = Life::read(fields)?;
        let links = fields.list(usize::MAX, LINK_BYTES, read_link)?;
        check_links(&links)?;
        let (own_held, own_durable) = (fields.sequence()?, fields.sequence()?);
        let (held, durable) = (read_positions(fields)?, read_positions(fields)?);
        let points = Points {
            mem_quorum: fields.sequence()?,
            disk_quorum: fields.sequence()?,
            certified: fields.sequence()?,
        };
        let header = |fields: &mut FieldReader<'_>| {
            let bytes = fields.raw(HEADER_BYTES)?;
            BlockHeader::decode(bytes).map_err(|_| FieldError::Wrong { what: "a header is not one" })
        };
        let waiting = fields.list(usize::MAX, HEADER_BYTES, header)?;
        let superseded = fields.list(usize::MAX, 32, FieldReader::hash)?;
        let former = fields.list(usize::MAX, 32, FieldReader::node)?;
        let unclaimed = fields.option(FieldReader::epoch)?;
        let state = State {
            life,
            links,
            own_held,
            own_durable,
            held,
            durable,
            points,
            waiting,
            superseded,
            former,
            unclaimed,
        };
        state.check()?;
        Ok(state)
    }

    fn check(&self) -> Result<(), FieldError> {
        let tip = self.tip();
        let is_within = |through: Sequence| through <= tip.sequence;
        field_rule(
            is_within(self.own_held) && is_within(self.own_durable),
            "more is held than the chain has",
        )?;
        let positions = self.held.all().iter().chain(self.durable.all());
        field_rule(positions.copied().all(is_within), "a position lies behind the chain")?;
        let Points { mem_quorum, disk_quorum, certified } = self.points;
        field_rule(is_within(mem_quorum) && certified <= disk_quorum, "a point lies where none can")?;
        field_rule(disk_quorum <= mem_quorum, "a commit lies behind what a quorum holds")?;
        field_rule(self.link_ending_at(disk_quorum).is_some(), "the commit is no block's end")?;
        field_rule(tip.epoch <= self.life.closed, "the chain has an epoch that is not closed")
    }
}

impl Life {
    fn write(&self, out: &mut FieldWriter) {
        out.epoch(self.closed);
        out.epoch(self.promised);
        out.option(self.promised_to, |out, node| out.raw(&node.0));
        out.flag(self.is_mute);
        out.count(self.claimed.len());
        self.claimed.iter().for_each(|epoch| out.epoch(*epoch));
        out.epoch(self.claims_lost_through);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self, FieldError> {
        let life = Self {
            closed: fields.epoch()?,
            promised: fields.epoch()?,
            promised_to: fields.option(FieldReader::node)?,
            is_mute: fields.flag()?,
            claimed: fields.list(usize::MAX, 8, FieldReader::epoch)?,
            claims_lost_through: fields.epoch()?,
        };
        let rises = life.claimed.windows(2).all(|pair| pair[0] < pair[1]);
        let is_closed = life.claimed.last().is_none_or(|last| *last <= life.closed);
        field_rule(rises && is_closed, "claims do not rise to a closed epoch")?;
        field_rule(life.promised >= life.closed, "a closed epoch is above what was promised")?;
        Ok(life)
    }
}

fn write_link(out: &mut FieldWriter, link: &Link) {
    out.sequence(link.first_sequence);
    out.sequence(link.tip.sequence);
    out.raw(&link.tip.hash.0);
    out.nanos(link.tip.time);
    out.epoch(link.tip.epoch);
}

fn read_link(fields: &mut FieldReader<'_>) -> Result<Link, FieldError> {
    let (first_sequence, sequence) = (fields.sequence()?, fields.sequence()?);
    let (hash, time, epoch) = (fields.hash()?, fields.nanos()?, fields.epoch()?);
    Ok(Link { tip: ChainTip { sequence, hash, time, epoch }, first_sequence })
}

fn check_links(links: &[Link]) -> Result<(), FieldError> {
    field_rule(!links.is_empty(), "the chain has no end")?;
    for pair in links.windows(2) {
        let (before, after) = (&pair[0].tip, &pair[1]);
        let follows = before.sequence.0.checked_add(1) == Some(after.first_sequence.0)
            && after.first_sequence <= after.tip.sequence
            && before.time < after.tip.time
            && before.epoch <= after.tip.epoch;
        field_rule(follows, "a block does not continue the chain")?;
    }
    let ends = links.last().is_some_and(|link| link.tip.sequence.0 < u64::MAX);
    field_rule(ends, "the chain has no place for a next block")
}

fn read_positions(fields: &mut FieldReader<'_>) -> Result<Positions, FieldError> {
    let mut through = [Sequence::NONE; MEMBERS_MAX];
    for position in &mut through {
        *position = fields.sequence()?;
    }
    Ok(Positions::restored(through))
}

/// A link as fields.
const LINK_BYTES: usize = 4 * 8 + 32;
