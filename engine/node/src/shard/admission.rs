//! What is refused before it is sequenced.
//!
//! Invariant: a refusal here means that the proposal never takes effect; so only a proposal that the shard has never
//! seen may be refused here. A retry of something decided always goes through to its first answer.
//!
//! Log room is given out in three steps, so that a node on a full disk can still be started, read and stopped: writes
//! leave the reserve alone, sessions coming and going leave half of it alone, and what is below is the machine's own
//! (claims, starts of epochs, seals).

use io_oi_record::{Operation, Proposal, RefusalCode};

use crate::rights::Rights;

/// What admission has to know of the world around the shard.
pub(super) trait Surroundings {
    /// Whether the hot tier can take this write now.
    fn has_hot_room(&mut self, key: &[u8], value_bytes: usize) -> bool;

    /// Whether the key belongs to this shard.
    fn owns(&self, key: &[u8]) -> bool;
}

/// Admission of one shard.
#[derive(Debug)]
pub(super) struct Gate {
    log_reserve_bytes: u64,
    is_log_full: bool,
    is_session_room_gone: bool,
    is_shutting_down: bool,
}

impl Gate {
    /// Refuses proposals while less than `log_reserve_bytes` of log room are guaranteed.
    pub(super) fn new(log_reserve_bytes: u64) -> Self {
        Self { log_reserve_bytes, is_log_full: false, is_session_room_gone: false, is_shutting_down: false }
    }

    /// From now on only retries get through.
    pub(super) fn shut_down(&mut self) {
        self.is_shutting_down = true;
    }

    /// Notes the log's guaranteed room. Closes below the reserve, opens again above twice as much: without the
    /// distance it would flap with every batch.
    #[inline]
    pub(super) fn note_log_room(&mut self, room_bytes: u64) {
        let open_above = if self.is_log_full { 2 * self.log_reserve_bytes } else { self.log_reserve_bytes };
        self.is_log_full = room_bytes < open_above;
        self.is_session_room_gone = room_bytes < self.log_reserve_bytes / 2;
    }

    /// Whether a session may be opened or closed in the log. On a full disk that goes on for a while after writes are
    /// refused: those who only read can still come and go.
    pub(super) fn admit_session(&self) -> Result<(), RefusalCode> {
        if self.is_session_room_gone { Err(RefusalCode::DiskFull) } else { Ok(()) }
    }

    /// Whether disk-full refusals are being given.
    pub(super) fn is_log_full(&self) -> bool {
        self.is_log_full
    }

    /// Whether a proposal that was never seen before may be sequenced.
    #[inline]
    pub(super) fn admit(
        &self,
        proposal: &Proposal<'_>,
        rights: &Rights,
        surroundings: impl Surroundings,
    ) -> Result<(), RefusalCode> {
        if self.is_shutting_down {
            return Err(RefusalCode::ShuttingDown);
        }
        match proposal.operation {
            Operation::Put | Operation::Delete => {}
            // An operator's signature is the right to it, whoever brings it.
            Operation::Govern => return self.admit_session(),
            _ => return Err(RefusalCode::Malformed),
        }
        if !rights.allow(proposal.key) {
            return Err(RefusalCode::PrefixNotAllowed);
        }
        self.admit_write(proposal, surroundings)
    }

    /// Whether a proposal that another node admitted, or this one some time ago, may be given a place in the order. That
    /// its client may write the key was seen to where the client is attached.
    #[inline]
    pub(super) fn admit_to_order(
        &self,
        proposal: &Proposal<'_>,
        surroundings: impl Surroundings,
    ) -> Result<(), RefusalCode> {
        match proposal.operation {
            Operation::Put | Operation::Delete if self.is_shutting_down => Err(RefusalCode::ShuttingDown),
            Operation::Put | Operation::Delete => self.admit_write(proposal, surroundings),
            _ => self.admit_session(),
        }
    }

    #[inline]
    fn admit_write(
        &self,
        proposal: &Proposal<'_>,
        mut surroundings: impl Surroundings,
    ) -> Result<(), RefusalCode> {
        if !surroundings.owns(proposal.key) {
            return Err(RefusalCode::WrongShard);
        }
        if self.is_log_full {
            return Err(RefusalCode::DiskFull);
        }
        if !surroundings.has_hot_room(proposal.key, proposal.value.len()) {
            return Err(RefusalCode::HotTierFull);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientRule;
    use io_oi_record::{Durability, Precondition, SessionSequence};

    struct World {
        room: bool,
        owns: bool,
    }

    impl Surroundings for &World {
        fn has_hot_room(&mut self, _key: &[u8], _value_bytes: usize) -> bool {
            self.room
        }
        fn owns(&self, _key: &[u8]) -> bool {
            self.owns
        }
    }

    const FINE: World = World { room: true, owns: true };

    fn put(key: &[u8]) -> Proposal<'_> {
        Proposal {
            session_sequence: SessionSequence(1),
            operation: Operation::Put,
            precondition: Precondition::None,
            durability: Durability::DiskQuorum,
            key,
            value: b"v",
        }
    }

    #[test]
    fn each_reason_has_its_own_code() {
        let gate = Gate::new(100);
        let all = Rights::default();
        assert_eq!(gate.admit(&put(b"k"), &all, &FINE), Ok(()));
        let full = World { room: false, ..FINE };
        assert_eq!(gate.admit(&put(b"k"), &all, &full), Err(RefusalCode::HotTierFull));
        let elsewhere = World { owns: false, ..FINE };
        assert_eq!(gate.admit(&put(b"k"), &all, &elsewhere), Err(RefusalCode::WrongShard));
        let rules = [ClientRule { uid: 1, prefixes: vec!["a/".to_owned()] }];
        let some = Rights::of(1, 2, &rules).unwrap();
        assert_eq!(gate.admit(&put(b"k"), &some, &FINE), Err(RefusalCode::PrefixNotAllowed));
        let open = Proposal { operation: Operation::OpenSession, key: b"", value: b"", ..put(b"k") };
        assert_eq!(gate.admit(&open, &all, &FINE), Err(RefusalCode::Malformed));
    }

    #[test]
    fn a_full_log_refuses_until_there_is_clearly_room_again() {
        let mut gate = Gate::new(100);
        let verdict = |gate: &Gate| gate.admit(&put(b"k"), &Rights::default(), &FINE);
        gate.note_log_room(100);
        assert_eq!(verdict(&gate), Ok(()));
        gate.note_log_room(99);
        assert_eq!(verdict(&gate), Err(RefusalCode::DiskFull));
        gate.note_log_room(199);
        assert_eq!(verdict(&gate), Err(RefusalCode::DiskFull));
        gate.note_log_room(200);
        assert_eq!(verdict(&gate), Ok(()));
        gate.note_log_room(100);
        assert_eq!(verdict(&gate), Ok(()));
    }

    #[test]
    fn sessions_come_and_go_in_the_upper_half_of_the_reserve() {
        let mut gate = Gate::new(100);
        gate.note_log_room(50);
        assert_eq!(gate.admit(&put(b"k"), &Rights::default(), &FINE), Err(RefusalCode::DiskFull));
        assert_eq!(gate.admit_session(), Ok(()));
        gate.note_log_room(49);
        assert_eq!(gate.admit_session(), Err(RefusalCode::DiskFull));
        gate.note_log_room(50);
        assert_eq!(gate.admit_session(), Ok(()));
    }

    #[test]
    fn a_node_that_shuts_down_takes_nothing_new() {
        let mut gate = Gate::new(1);
        gate.shut_down();
        assert_eq!(gate.admit(&put(b"k"), &Rights::default(), &FINE), Err(RefusalCode::ShuttingDown));
    }
}
