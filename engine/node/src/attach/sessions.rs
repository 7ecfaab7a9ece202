//! Who is attached, and how far each handshake has come.
//!
//! Invariant: a session is held by at most one client, from the moment its lanes are ordered until every shard has
//! said that the last of its frames is answered.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use io_oi_record::{RefusalCode, SessionId};

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
    },
    /// At work.
    Attached { session: SessionId },
    /// Gone; the shards drain its lanes.
    Leaving { session: SessionId, shards_left: usize },
}

impl Stage {
    fn held_session(&self) -> Option<SessionId> {
        match self {
            Stage::Greeting { .. } | Stage::Waiting { .. } => None,
            Stage::Opening { session, .. } | Stage::Attached { session } | Stage::Leaving { session, .. } => {
                Some(*session)
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Stage::Greeting { until } | Stage::Waiting { until, .. } => Some(*until),
            _ => None,
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
        self.by_id.values().filter_map(|client| client.stage.deadline()).min()
    }
}
