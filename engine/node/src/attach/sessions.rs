//! Who is attached, and how far each handshake has come.
//!
//! Invariant: a session is held by at most one client, from the moment its lanes are ordered until every shard has
//! said that the last of its frames is answered.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use io_oi_record::limits::{CLIENTS_MAX, SESSIONS_MAX};
use io_oi_record::{RefusalCode, SessionId};

use super::inquiries::Asking;
use super::socket::Peer;
use crate::mail::ClientId;
use crate::rights::Rights;

/// One connection, or what is left of it.
#[derive(Debug)]
pub(super) struct Client {
    /// The connection; `None` once it is gone and only the lanes are left.
    pub(super) fd: Option<OwnedFd>,
    pub(super) peer: Peer,
    pub(super) name: String,
    pub(super) stage: Stage,
}

/// How far a client has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Connected; its hello has to come until then.
    Greeting { until: Instant },
    /// Wants a session back that a dying client still holds.
    Waiting { session: SessionId, rights: Rights, until: Instant },
    /// Every shard is opening its lane.
    Opening {
        session: SessionId,
        rights: Rights,
        lanes: Vec<OwnedFd>,
        shards_left: usize,
        refused: Option<RefusalCode>,
        /// Where other nodes decide, too, it is not waited for without end.
        until: Option<Instant>,
    },
    /// Has asked something and wants no session.
    Asking(Box<Asking>),
    /// Takes its answer, packet by packet.
    Told { rest: VecDeque<Vec<u8>>, until: Instant },
    /// At work.
    Attached { session: SessionId },
    /// Gone; the shards drain its lanes.
    Leaving { session: SessionId, shards_left: usize },
}

impl Stage {
    fn held_session(&self) -> Option<SessionId> {
        match self {
            Stage::Greeting { .. } | Stage::Waiting { .. } | Stage::Asking(_) | Stage::Told { .. } => None,
            Stage::Opening { session, .. } | Stage::Attached { session } | Stage::Leaving { session, .. } => {
                Some(*session)
            }
        }
    }

    fn ask_again_at(&self) -> Option<Instant> {
        match self {
            Stage::Asking(asking) => asking.again_at,
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Stage::Greeting { until } | Stage::Waiting { until, .. } | Stage::Told { until, .. } => {
                Some(*until)
            }
            Stage::Opening { until, .. } => *until,
            Stage::Asking(asking) => Some(asking.until),
            Stage::Attached { .. } | Stage::Leaving { .. } => None,
        }
    }
}

/// All clients of a node.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_id: BTreeMap<ClientId, Client>,
    given: u64,
}

impl Clients {
    pub(super) fn add(&mut self, client: Client) -> ClientId {
        self.given += 1;
        let id = ClientId(self.given);
        self.by_id.insert(id, client);
        id
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.by_id.remove(&id)
    }

    /// Clients in every stage; those that are leaving still take up a lane.
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Clients that take up a lane, coming and going ones included.
    pub(super) fn seated_count(&self) -> usize {
        self.by_id.values().filter(|client| client.stage.held_session().is_some()).count()
    }

    pub(super) fn attached_count(&self) -> usize {
        self.by_id.values().filter(|client| matches!(client.stage, Stage::Attached { .. })).count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.by_id.iter().map(|(id, client)| (*id, client))
    }

    pub(super) fn ids(&self) -> Vec<ClientId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn is_held(&self, session: SessionId) -> bool {
        self.by_id.values().any(|client| client.stage.held_session() == Some(session))
    }

    /// The one that has waited longest for a session that is free now.
    pub(super) fn next_in_turn(&self) -> Option<ClientId> {
        self.iter().find_map(|(id, client)| match client.stage {
            Stage::Waiting { session, .. } if !self.is_held(session) => Some(id),
            _ => None,
        })
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<ClientId> {
        let late = |client: &Client| client.stage.deadline().is_some_and(|until| until <= now);
        self.iter().filter(|(_, client)| late(client)).map(|(id, _)| id).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let again = self.by_id.values().filter_map(|client| client.stage.ask_again_at());
        self.by_id.values().filter_map(|client| client.stage.deadline()).chain(again).min()
    }

    /// One whose question is to be put to the shards again.
    pub(super) fn next_to_ask_again(&self, now: Instant) -> Option<ClientId> {
        let is_due = |client: &Client| client.stage.ask_again_at().is_some_and(|at| at <= now);
        self.iter().find(|(_, client)| is_due(client)).map(|(id, _)| id)
    }
}

/// Sessions that are open in the log and that nobody is attached to, in the order of their detachment.
#[derive(Debug)]
pub(super) struct DetachedSessions {
    by_age: VecDeque<(SessionId, Instant)>,
    kept_for: Duration,
}

impl DetachedSessions {
    /// None yet; each is kept for so long.
    pub(super) fn new(kept_for: Duration) -> Self {
        Self { by_age: VecDeque::new(), kept_for }
    }

    pub(super) fn add(&mut self, session: SessionId, now: Instant) {
        self.by_age.push_back((session, now));
    }

    /// Somebody came back for it.
    pub(super) fn remove(&mut self, session: SessionId) {
        self.by_age.retain(|(detached, _)| *detached != session);
    }

    /// The eldest, when its time is over, or when so many are kept that attached ones would have to make room in the
    /// shards' tables.
    pub(super) fn next_dead(&mut self, now: Instant) -> Option<SessionId> {
        let is_crowded = self.by_age.len() > DETACHED_MAX;
        let is_dead = |(_, since): &mut (SessionId, Instant)| is_crowded || *since + self.kept_for <= now;
        self.by_age.pop_front_if(is_dead).map(|(session, _)| session)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_age.front().map(|(_, since)| *since + self.kept_for)
    }
}

/// What the shards' tables take besides the sessions of attached clients.
const DETACHED_MAX: usize = SESSIONS_MAX - CLIENTS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use io_oi_record::NodeTag;

    fn session(counter: u32) -> SessionId {
        SessionId { node: NodeTag(1), boot: 1, counter }
    }

    #[test]
    fn a_detached_session_dies_when_its_time_is_over_unless_somebody_comes_back() {
        let start = Instant::now();
        let mut detached = DetachedSessions::new(Duration::from_secs(10));
        (1..=3).for_each(|counter| detached.add(session(counter), start));
        detached.remove(session(2));
        assert_eq!(detached.next_deadline(), Some(start + Duration::from_secs(10)));
        assert_eq!(detached.next_dead(start + Duration::from_secs(9)), None);
        let late = start + Duration::from_secs(10);
        assert_eq!(detached.next_dead(late), Some(session(1)));
        assert_eq!(detached.next_dead(late), Some(session(3)));
        assert_eq!((detached.next_dead(late), detached.next_deadline()), (None, None));
    }

    #[test]
    fn the_eldest_makes_room_before_an_attached_session_has_to() {
        let start = Instant::now();
        let mut detached = DetachedSessions::new(Duration::from_secs(10));
        (0..DETACHED_MAX as u32).for_each(|counter| detached.add(session(counter), start));
        assert_eq!(detached.next_dead(start), None);
        detached.add(session(u32::MAX), start);
        assert_eq!(detached.next_dead(start), Some(session(0)));
        assert_eq!(detached.next_dead(start), None);
    }
}
