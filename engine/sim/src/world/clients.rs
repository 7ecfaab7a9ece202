//! The clients in the world: they attach to nodes, send, wait, lose patience, and go elsewhere.
//!
//! Invariant: a client sees its own node's shared memory only; reading it takes no time and asks nobody, even while the
//! node's process stands still.

use io_oi_history::sessions::View;
use io_oi_history::{Answer, Call};
use io_oi_record::{Durability, Nanos, Outcome, Receipt, RefusalCode, Sequence, SessionId};
use io_oi_shard::SessionState;

use super::{What, World};
use crate::client::{Client, Deed, Pending, Place, answer_of, call_of, ends_session, is_not_now};
use crate::planted::Bug;
use crate::process::{Process, Request};
use crate::sights::Sight;

/// How often a client asks nodes that do not know its session before it opens another.
const STRANGENESS_MAX: u32 = 12;
const LOOK_AGAIN_NS: u64 = 20_000_000;

impl Client {
    /// What it waits for, if it waits.
    pub(super) fn waits_for(&self) -> Option<String> {
        let pending = self.pending.as_ref()?;
        let (session, wish) = (self.session?, &pending.wish);
        Some(format!(
            "client {} of n{}: number {} of {session}, sent {} times since {}",
            self.number, self.node, wish.session_sequence, pending.sent, pending.since
        ))
    }
}

impl World {
    /// A client has something to do, or has waited long enough.
    pub(super) fn client(&mut self, client: usize) {
        match self.clients[client].place {
            Place::Away => self.attach(client),
            Place::Opening => self.opening_takes_long(client),
            Place::Attached if self.clients[client].pending.is_some() => self.answer_takes_long(client),
            Place::Attached => self.do_next(client),
        }
    }

    /// The client's next turn; whatever it waited for before is forgotten.
    fn look_again(&mut self, client: usize, ns: u64) {
        self.clients[client].turn += 1;
        let turn = self.clients[client].turn;
        self.at(self.time + ns, What::Client { client, turn });
    }

    /// Its node is gone, or it leaves: it looks for a node after a moment.
    fn detach(&mut self, client: usize) {
        self.clients[client].place = Place::Away;
        self.look_again(client, LOOK_AGAIN_NS);
    }

    /// A process died: whoever was attached to it is not any more.
    pub(super) fn detach_all(&mut self, node: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].node == node && self.clients[client].place != Place::Away {
                self.detach(client);
            }
        }
    }

    fn attach(&mut self, client: usize) {
        if self.is_quiet && self.clients[client].pending.is_none() {
            return;
        }
        let boxes = self.nodes.len();
        let it = &mut self.clients[client];
        if !self.nodes[it.node].takes_clients() || !it.stays() {
            let node = it.another_node(boxes);
            let node = if self.nodes[node].takes_clients() { node } else { it.node };
            if node != it.node && it.session.is_some() {
                self.sights.see(Sight::SessionMoved);
            }
            it.node = node;
        }
        let node = it.node;
        let is_open = self.nodes[node].paused_until <= self.time && self.nodes[node].takes_clients();
        let Some(process) = self.nodes[node].process.as_mut().filter(|_| is_open) else {
            return self.look_again(client, LOOK_AGAIN_NS);
        };
        match it.session.map(|session| (session, process.machine.session_state(session))) {
            None => self.open(client),
            Some((_, SessionState::Open)) => {
                it.place = Place::Attached;
                it.attachments += 1;
                it.strangeness = 0;
                if it.pending.is_some() { self.send_again(client) } else { self.do_next(client) }
            }
            Some((_, SessionState::Unknown)) if it.strangeness < STRANGENESS_MAX => {
                it.strangeness += 1;
                self.look_again(client, LOOK_AGAIN_NS);
            }
            Some(_) => {
                self.give_session_up(client);
                self.look_again(client, LOOK_AGAIN_NS);
            }
        }
    }

    /// What was under way stays unknown for ever.
    fn give_session_up(&mut self, client: usize) {
        let it = &mut self.clients[client];
        it.session = None;
        it.pending = None;
    }

    fn open(&mut self, client: usize) {
        let node = self.clients[client].node;
        let (tag, boot) = (self.nodes[node].identity.node.tag(), self.nodes[node].boot);
        let process = self.nodes[node].process.as_mut().expect("its node is up");
        process.session_counter += 1;
        let session = SessionId { node: tag, boot, counter: process.session_counter };
        process.inbox.push_back(Request::Open(session));
        let it = &mut self.clients[client];
        it.renew(session);
        it.place = Place::Opening;
        let patience = it.patience_ns();
        it.patience_until = self.time + patience;
        self.look_again(client, patience);
        self.with_process(node, Process::read_inbox);
    }

    fn opening_takes_long(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if it.patience_until > self.time {
            return;
        }
        self.give_session_up(client);
        self.detach(client);
    }

    fn do_next(&mut self, client: usize) {
        if self.is_quiet {
            return;
        }
        let it = &mut self.clients[client];
        let node = &self.nodes[it.node];
        let Some(process) = &node.process else { return self.detach(client) };
        let deed = it.next_deed(|key| process.hot.newest(key).map(|version| Sequence(version.sequence)));
        match deed {
            Deed::Write(wish) => {
                let operation = self.witness.history.invoke(self.time, it.number, &wish.key, call_of(&wish));
                it.pending = Some(Pending { operation, wish, sent: 0, since: self.time });
                if self.time > self.scenario.calm_at {
                    self.asked_at.get_or_insert(self.time);
                }
                return self.send_again(client);
            }
            Deed::ReadLease(key) => self.read_lease(client, &key),
            Deed::ReadPlain(key) => self.read_plain(client, key),
            Deed::ReadTentative(key) => self.read_tentative(client, &key),
            Deed::Leave => {
                let node = it.node;
                if let Some(session) = it.session {
                    let process = self.nodes[node].process.as_mut().expect("its node is up");
                    process.inbox.push_back(Request::Close(session));
                    self.with_process(node, Process::read_inbox);
                }
                self.give_session_up(client);
                return self.detach(client);
            }
            Deed::Move => {
                let boxes = self.nodes.len();
                let it = &mut self.clients[client];
                let node = it.another_node(boxes);
                if self.nodes[node].takes_clients() {
                    it.node = node;
                }
                return self.detach(client);
            }
        }
        let think = self.clients[client].think_ns();
        self.look_again(client, think);
    }

    fn send_again(&mut self, client: usize) {
        let it = &mut self.clients[client];
        let (node, session) = (it.node, it.session.expect("an attached client has a session"));
        let patience = it.patience_ns();
        it.patience_until = self.time + patience;
        let pending = it.pending.as_mut().expect("there is something to send");
        pending.sent += 1;
        if pending.sent > 1 {
            self.sights.see(Sight::Retry);
        }
        let wish = pending.wish.clone();
        if self.story.is_heard() {
            let (number, sent) = (it.number, pending.sent);
            let key = wish.key.escape_ascii();
            self.story.tell(
                self.time,
                format_args!(
                    "client {number} on n{node} sends {} of {session} ({sent}): {} {key} {} if {:?}, {}",
                    wish.session_sequence,
                    wish.operation,
                    wish.value.escape_ascii(),
                    wish.precondition,
                    wish.durability
                ),
            );
        }
        let Some(process) = self.nodes[node].process.as_mut() else { return self.detach(client) };
        process.inbox.push_back(Request::Write(session, wish));
        self.look_again(client, patience);
        if self.nodes[node].paused_until <= self.time {
            self.with_process(node, Process::read_inbox);
        }
    }

    fn answer_takes_long(&mut self, client: usize) {
        let it = &mut self.clients[client];
        if it.patience_until > self.time {
            return;
        }
        if it.stays() { self.send_again(client) } else { self.detach(client) }
    }

    /// A node answers a session.
    pub(super) fn reply(&mut self, node: usize, session: SessionId, receipt: Receipt) {
        if session.counter == 0 {
            return self.answer_operator(&receipt);
        }
        let is_meant = |it: &Client| it.node == node && it.session == Some(session);
        let Some(client) = self.clients.iter().position(is_meant) else { return };
        if self.story.is_heard() {
            let number = self.clients[client].number;
            self.story.tell(
                self.time,
                format_args!(
                    "n{node} answers client {number}: {} at {} of e{}, {}, {:?}",
                    receipt.session_sequence,
                    receipt.sequence,
                    receipt.epoch,
                    receipt.durability,
                    receipt.outcome
                ),
            );
        }
        match self.clients[client].place {
            Place::Away => {}
            Place::Opening if receipt.session_sequence.is_none() => self.opened(client, &receipt),
            Place::Opening => {}
            Place::Attached => self.answered(client, &receipt),
        }
    }

    fn opened(&mut self, client: usize, receipt: &Receipt) {
        if !receipt.is_accepted() {
            self.give_session_up(client);
            return self.detach(client);
        }
        self.sights.see(Sight::SessionOpened);
        let it = &mut self.clients[client];
        it.place = Place::Attached;
        it.attachments += 1;
        self.note_asked(receipt);
        let it = &mut self.clients[client];
        let think = it.think_ns();
        self.look_again(client, think);
    }

    fn answered(&mut self, client: usize, receipt: &Receipt) {
        let it = &mut self.clients[client];
        let is_this = |pending: &Pending| pending.wish.session_sequence == receipt.session_sequence;
        let Some(pending) = it.pending.take_if(|pending| is_this(pending)) else { return };
        if is_not_now(receipt) && pending.sent > 1 {
            // An earlier copy may still be under way: ask again later.
            it.pending = Some(pending);
            return;
        }
        it.answered += 1;
        let answer = answer_of(receipt, pending.sent);
        self.witness.history.answer(self.time, pending.operation, answer);
        self.note_receipt(receipt);
        self.note_asked(receipt);
        if ends_session(receipt) {
            self.give_session_up(client);
            return self.detach(client);
        }
        let think = self.clients[client].think_ns();
        self.look_again(client, think);
    }

    /// Whether somebody waits for a decision.
    pub(super) fn is_asked(&self) -> bool {
        self.clients.iter().any(|client| client.place != Place::Attached || client.pending.is_some())
    }

    /// An answer in the calm that tells of a decision, even of an old one, is what its client waited for: progress is waited
    /// for again once somebody asks again.
    fn note_asked(&mut self, receipt: &Receipt) {
        let is_decided = !receipt.sequence.is_none() && receipt.sequence <= self.witness.truth.through();
        if is_decided && !self.is_asked() {
            self.asked_at = None;
        }
    }

    fn note_receipt(&mut self, receipt: &Receipt) {
        if receipt.outcome == Outcome::Refused(RefusalCode::PreconditionFailed) {
            self.sights.see(Sight::ConditionFailed);
        }
        if receipt.is_accepted() {
            self.sights.see(match receipt.durability {
                Durability::Local => Sight::LocalReceipt,
                Durability::MemQuorum => Sight::MemQuorumReceipt,
                Durability::DiskQuorum => Sight::DiskQuorumReceipt,
                Durability::Certified => Sight::CertifiedReceipt,
            });
        }
    }

    /// Whoever has a lease answers at once. The word stands in shared memory: it is read even while the process stands
    /// still.
    fn read_lease(&mut self, client: usize, key: &[u8]) {
        for node in 0..self.nodes.len() {
            let Some(process) = &self.nodes[node].process else { continue };
            let believes = self.bug == Some(Bug::ReadWithoutLease) && process.machine.is_leading();
            if !self.has_lease(node) && !believes {
                continue;
            }
            let found = process.hot.committed(key);
            let answer = match found.and_then(|version| Some((version.sequence, version.value.clone()?))) {
                Some((sequence, value)) => Answer::Found { version: Some(sequence), value },
                None => Answer::Missing,
            };
            self.sights.see(Sight::LeaseRead);
            if self.story.is_heard() {
                let (number, key) = (self.clients[client].number, key.escape_ascii());
                self.story.tell(
                    self.time,
                    format_args!("client {number} reads {key} under the lease of n{node}: {answer:?}"),
                );
            }
            let number = self.clients[client].number;
            let read = self.witness.history.invoke(self.time, number, key, Call::Read);
            self.witness.history.answer(self.time, read, answer);
        }
    }

    fn has_lease(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        let until = it.process.as_ref().map_or(Nanos::ZERO, |process| process.machine.lease_until());
        until != Nanos::ZERO && it.clock.at(self.time).mono < until
    }

    /// A node has worked: whoever has a lease now shows whatever anybody has ever shown as committed, whether a client reads
    /// at this moment or not. [P-110, P-113]
    pub(super) fn check_leases(&mut self, node: usize) {
        let committed =
            |it: &crate::node::Node| it.process.as_ref().map(|process| process.machine.committed());
        let Some(through) = committed(&self.nodes[node]) else { return };
        let (known, who) = self.shown_through;
        if through < known {
            if self.has_lease(node) {
                self.witness.lease_is_stale(self.time, [node, who], [through, known]);
            }
        } else if through > known {
            self.shown_through = (through, node);
            let behind = |other: &usize| committed(&self.nodes[*other]).is_some_and(|it| it < through);
            let stale = (0..self.nodes.len()).filter(behind).find(|other| self.has_lease(*other));
            if let Some(other) = stale {
                let shown = committed(&self.nodes[other]).unwrap_or_default();
                self.witness.lease_is_stale(self.time, [other, node], [shown, through]);
            }
        }
    }

    fn read_plain(&mut self, client: usize, key: Vec<u8>) {
        let it = &self.clients[client];
        let Some(process) = &self.nodes[it.node].process else { return };
        let version = process.hot.committed(&key).map_or(0, |version| version.sequence);
        let session = it.number << 32 | it.attachments;
        self.witness.views.push(View { session, time_ns: self.time, key, version });
    }

    fn read_tentative(&mut self, client: usize, key: &[u8]) {
        let it = &self.clients[client];
        let Some(process) = &self.nodes[it.node].process else { return };
        if process.hot.newest(key) != process.hot.committed(key) {
            self.sights.see(Sight::TentativeRead);
        }
    }
}
