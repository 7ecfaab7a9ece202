//! The housekeeping thread: lets clients in, sees them go, and ends the node.
//!
//! Invariants:
//! - nothing here waits for a client: every socket is non-blocking, every handshake has a deadline;
//! - a session is open in every shard, durably, before its client is welcomed;
//! - whatever a client sends, it can only lose its own connection;
//! - a question costs a look: what is asked for is put together here, not in a shard.

mod inquiries;
mod sessions;
mod socket;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_oi_record::attach::{AttachRefusal, Hello, Refused, Resume, ShardDoor, Welcome};
use io_oi_record::limits::{
    CLIENTS_MAX, PACKET_BYTES_MAX, PROPOSAL_BYTES_MAX, RECEIPT_BYTES, RECEIPT_RING_BYTES,
};
use io_oi_record::{Noun, RefusalCode, SessionId, ShardId, peek_noun};
use io_oi_shm::LAYOUT_VERSION;
use io_oi_shm::lane::{self, NodeLane};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::Config;
use crate::directory::Identity;
use crate::mail::{Attachment, ClientId, Notice, NoticeBox, Order, Orders};
use crate::rights::Rights;
use crate::shard::Door;
use sessions::{Client, Clients, DetachedSessions, Stage};
use socket::{Peer, Received};

pub(crate) use socket::Listener;
pub use socket::SocketError;

/// Counted by housekeeping, shown on every shard's board.
#[derive(Debug, Default)]
pub(crate) struct AttachCounts {
    clients_now: AtomicU64,
    attaches: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
}

impl AttachCounts {
    /// Clients now, attaches, refused attaches, malformed attaches.
    pub(crate) fn values(&self) -> [u64; 4] {
        [&self.clients_now, &self.attaches, &self.refused, &self.malformed]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

/// Everything that housekeeping has to be given.
pub(crate) struct House {
    pub(crate) identity: Arc<Identity>,
    pub(crate) incarnation: u64,
    pub(crate) config: Arc<Config>,
    pub(crate) own_uid: u32,
    /// Nobody else decides here: a session is opened however long the disk takes.
    pub(crate) is_alone: bool,
    pub(crate) listener: Listener,
    pub(crate) doors: Vec<Door>,
    pub(crate) orders: Vec<Orders>,
    pub(crate) notices: NoticeBox,
    pub(crate) counts: Arc<AttachCounts>,
    /// Where Redis clients are served, if they are.
    pub(crate) resp: Option<SocketAddr>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// The thread's state.
pub(crate) struct Housekeeping {
    house: House,
    /// `None` once the node is stopping.
    listener_is_open: bool,
    clients: Clients,
    detached: DetachedSessions,
    sessions_given: u32,
    shards_ended: usize,
    is_stopping: bool,
    fault: Option<String>,
    garbage: RareLog,
}

impl Housekeeping {
    pub(crate) fn new(house: House) -> Self {
        let mut detached = DetachedSessions::new(Duration::from_secs(house.config.resume_s));
        let of_earlier_boots: BTreeSet<SessionId> =
            house.doors.iter().flat_map(|door| door.open_sessions.iter().copied()).collect();
        of_earlier_boots.into_iter().for_each(|session| detached.add(session, Instant::now()));
        Self {
            detached,
            house,
            listener_is_open: true,
            clients: Clients::default(),
            sessions_given: 0,
            shards_ended: 0,
            is_stopping: false,
            fault: None,
            garbage: RareLog::default(),
        }
    }

    /// Runs until every shard has ended. The reason, when one of them could not go on.
    pub(crate) fn run(mut self) -> Result<(), String> {
        while self.shards_ended < self.house.orders.len() {
            let ready = self.wait();
            self.house.notices.silence();
            while let Some((shard, notice)) = self.house.notices.next() {
                self.take_notice(shard, notice);
            }
            if self.house.stop.load(Ordering::Acquire) && !self.is_stopping {
                self.stop();
            }
            if ready.listener && self.listener_is_open {
                self.accept();
            }
            for id in ready.clients {
                self.read(id);
            }
            self.expire();
            self.close_dead_sessions();
            self.ask_again();
            while let Some(id) = self.clients.next_in_turn() {
                self.resume_in_turn(id);
            }
            self.house.counts.clients_now.store(self.clients.attached_count() as u64, Ordering::Relaxed);
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn wait(&self) -> Ready {
        let mut polled = vec![PollFd::new(&self.house.notices, PollFlags::IN)];
        let listens = self.listener_is_open && self.clients.count() < CLIENTS_MAX + GREETED_AT_ONCE_MAX;
        if listens {
            polled.push(PollFd::new(&self.house.listener, PollFlags::IN));
        }
        let connected: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| client.fd.is_some()).map(|(id, _)| id).collect();
        for (_, client) in self.clients.iter() {
            if let Some(fd) = &client.fd {
                let wants_room = matches!(client.stage, Stage::Told { .. });
                let write = if wants_room { PollFlags::OUT } else { PollFlags::empty() };
                polled.push(PollFd::new(fd, PollFlags::IN | PollFlags::RDHUP | write));
            }
        }
        let now = Instant::now();
        let deadlines = [self.clients.next_deadline(), self.detached.next_deadline()];
        let until = deadlines.into_iter().flatten().fold(now + LOOK_AROUND, Instant::min);
        let patience = until.saturating_duration_since(now) + Duration::from_millis(1);
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
        if poll(&mut polled, Some(&timeout)).is_err() {
            return Ready::default(); // Interrupted: look again.
        }
        let first_client = 1 + usize::from(listens);
        let is_ready = |index: usize| !polled[index].revents().is_empty();
        let clients = connected
            .iter()
            .enumerate()
            .filter(|(index, _)| is_ready(first_client + index))
            .map(|(_, id)| *id)
            .collect();
        Ready { listener: listens && is_ready(1), clients }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_ROUND {
            match self.house.listener.accept() {
                Ok(None) => return,
                Ok(Some((fd, peer))) => self.greet(fd, peer),
                Err(errno) => {
                    // Out of descriptors, most likely: those who wait get their turn when others leave.
                    self.garbage.warn(format_args!("cannot accept a client: {errno}"));
                    return;
                }
            }
        }
    }

    fn greet(&mut self, fd: OwnedFd, peer: Peer) {
        let until = Instant::now() + Duration::from_millis(self.house.config.handshake_ms);
        let stage = Stage::Greeting { until };
        // Most refusals are told after the hello, so that a client that is still speaking hears them.
        let id = self.clients.add(Client { fd: Some(fd), peer, name: String::new(), stage });
        // But those who may not come in at all must not take up the places of those who may.
        if self.rights_of(peer).is_none() {
            self.refuse(id, AttachRefusal::UserNotAllowed);
        }
    }

    fn rights_of(&self, peer: Peer) -> Option<Rights> {
        Rights::of(peer.uid, self.house.own_uid, &self.house.config.clients)
    }

    fn read(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(fd) = &client.fd else { return };
        if matches!(client.stage, Stage::Told { .. }) {
            return self.go_on_telling(id);
        }
        let mut packet = [0; PACKET_BYTES_MAX];
        match socket::receive(fd, &mut packet) {
            Received::Empty => {}
            Received::Closed => self.lose(id),
            Received::Packet(bytes) if matches!(client.stage, Stage::Greeting { .. }) => {
                self.hear(id, &packet[..bytes]);
            }
            // After its hello a client has nothing to say here.
            Received::Packet(_) | Received::Oversize => {
                self.house.counts.malformed.fetch_add(1, Ordering::Relaxed);
                self.refuse(id, AttachRefusal::Malformed);
            }
        }
    }

    fn hear(&mut self, id: ClientId, packet: &[u8]) {
        if peek_noun(packet) == Some(Noun::Inquiry) {
            return self.hear_inquiry(id, packet);
        }
        let hello = match Hello::decode(packet) {
            Ok(hello) => hello,
            Err(error) => {
                self.house.counts.malformed.fetch_add(1, Ordering::Relaxed);
                return self.refuse(id, AttachRefusal::from(&error));
            }
        };
        if let Err(refusal) = hello.verdict() {
            return self.refuse(id, refusal);
        }
        let client = self.clients.get_mut(id).expect("the client is speaking");
        client.name = hello.client_name;
        let peer = client.peer;
        let Some(rights) = self.rights_of(peer) else {
            return self.refuse(id, AttachRefusal::UserNotAllowed);
        };
        match hello.resume {
            None => {
                let session = self.next_session();
                self.order_lanes(id, session, rights, true);
            }
            Some(resume) => self.resume(id, peer.uid, resume, rights),
        }
    }

    fn next_session(&mut self) -> SessionId {
        self.sessions_given =
            self.sessions_given.checked_add(1).expect("fewer than 2^32 sessions in one boot");
        let Identity { node, boot, .. } = &*self.house.identity;
        SessionId { node: node.tag(), boot: *boot, counter: self.sessions_given }
    }

    fn resume(&mut self, id: ClientId, uid: u32, resume: Resume, rights: Rights) {
        let Resume { session, token } = resume;
        if !self.house.identity.tokens.accepts(&token, session, uid) {
            return self.refuse(id, AttachRefusal::ResumeRefused);
        }
        if self.clients.is_held(session) {
            // Most likely the same client's last connection, whose end has not been noticed everywhere yet.
            let until = Instant::now() + RESUME_PATIENCE;
            let client = self.clients.get_mut(id).expect("the client is speaking");
            client.stage = Stage::Waiting { session, rights, until };
            return;
        }
        self.order_lanes(id, session, rights, false);
    }

    fn resume_in_turn(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id).expect("found a moment ago");
        if let Stage::Waiting { session, rights, .. } = &client.stage {
            let (session, rights) = (*session, rights.clone());
            self.order_lanes(id, session, rights, false);
        }
    }

    /// One lane per shard; the shards answer by notice.
    fn order_lanes(&mut self, id: ClientId, session: SessionId, rights: Rights, is_new: bool) {
        if self.clients.seated_count() >= CLIENTS_MAX {
            return self.refuse(id, AttachRefusal::ClientsFull);
        }
        let made: Result<Vec<(NodeLane, OwnedFd)>, _> =
            self.house.identity.shards().map(|shard| NodeLane::create(&self.lane_config(shard))).collect();
        let lanes = match made {
            Ok(lanes) => lanes,
            Err(error) => {
                self.garbage.warn(format_args!("no lane for a client: {error}"));
                return self.refuse(id, AttachRefusal::ResourcesExhausted);
            }
        };
        self.detached.remove(session);
        let shared = Arc::new(rights.clone());
        let mut descriptors = Vec::with_capacity(lanes.len());
        for (orders, (lane, descriptor)) in self.house.orders.iter().zip(lanes) {
            let attachment = Attachment { client: id, session, is_new, lane, rights: shared.clone() };
            orders.send(Order::Attach(Box::new(attachment)));
            descriptors.push(descriptor);
        }
        let shards_left = descriptors.len();
        let client = self.clients.get_mut(id).expect("a client that asks for lanes is there");
        let is_alone = self.house.is_alone;
        let until =
            (!is_alone).then(|| Instant::now() + Duration::from_millis(self.house.config.handshake_ms));
        client.stage =
            Stage::Opening { session, rights, lanes: descriptors, shards_left, refused: None, until };
    }

    fn lane_config(&self, shard: ShardId) -> lane::Config {
        lane::Config {
            proposal_ring_bytes: self.house.config.lane.proposal_bytes as usize,
            proposal_frame_bytes_max: PROPOSAL_BYTES_MAX,
            receipt_ring_bytes: RECEIPT_RING_BYTES,
            receipt_frame_bytes_max: RECEIPT_BYTES,
            incarnation: self.house.incarnation,
            shard: shard.get(),
        }
    }

    fn take_notice(&mut self, shard: ShardId, notice: Notice) {
        match notice {
            Notice::Attached { client, result } => self.lane_is_open(client, result),
            Notice::Detached { client } => self.lane_is_gone(client),
            Notice::Broken { client, what } => self.lane_is_broken(shard, client, &what),
            Notice::Answered { client, answered } => self.hear_answer(shard, client, answered),
            Notice::Ended => self.shards_ended += 1,
            Notice::Failed { what } => {
                self.fault.get_or_insert(format!("shard {shard} stopped: {what}"));
                self.stop();
            }
        }
    }

    fn lane_is_open(&mut self, id: ClientId, result: Result<(), RefusalCode>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Stage::Opening { shards_left, refused, .. } = &mut client.stage else { return };
        *shards_left -= 1;
        if let Err(code) = result {
            refused.get_or_insert(code);
        }
        if *shards_left > 0 {
            return;
        }
        match *refused {
            None => self.welcome(id),
            Some(code) => self.refuse(id, attach_refusal(code)),
        }
    }

    /// Every shard has the session: the client gets its doors.
    fn welcome(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id).expect("its lanes were opened a moment ago");
        let (peer, name) = (client.peer, client.name.clone());
        let interim = Stage::Attached { session: SessionId::default() };
        let Stage::Opening { session, rights, lanes, .. } = std::mem::replace(&mut client.stage, interim)
        else {
            unreachable!("only an opening client is welcomed")
        };
        client.stage = Stage::Attached { session };
        let Some(fd) = client.fd.as_ref() else { return self.lose(id) };
        let sent = send_welcome(&self.house, fd, peer, session, &rights, &lanes);
        if let Err(errno) = sent {
            self.garbage.warn(format_args!("client {name:?} did not take its welcome: {errno}"));
            return self.lose(id);
        }
        self.house.counts.attaches.fetch_add(1, Ordering::Relaxed);
        tracing::info!(%session, uid = peer.uid, pid = peer.pid, name, "client attached");
    }

    fn lane_is_gone(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Stage::Leaving { shards_left, session } = &mut client.stage else { return };
        *shards_left -= 1;
        if *shards_left == 0 {
            tracing::info!(%session, name = client.name, "client detached");
            let session = *session;
            self.clients.remove(id);
            self.detached.add(session, Instant::now());
        }
    }

    fn lane_is_broken(&mut self, shard: ShardId, id: ClientId, what: &str) {
        if let Some(client) = self.clients.get_mut(id) {
            let (name, pid) = (client.name.clone(), client.peer.pid);
            self.garbage.warn(format_args!(
                "client {name:?} (process {pid}) broke its lane in shard {shard}: {what}"
            ));
        }
        self.refuse(id, AttachRefusal::Malformed);
    }

    /// Says why, and lets go.
    fn refuse(&mut self, id: ClientId, refusal: AttachRefusal) {
        let Some(client) = self.clients.get_mut(id) else { return };
        self.house.counts.refused.fetch_add(1, Ordering::Relaxed);
        let peer = client.peer;
        if let (Some(fd), Ok(packet)) = (&client.fd, Refused::of(refusal).encode()) {
            socket::send_last(fd, &packet);
        }
        self.garbage.warn(format_args!(
            "client refused (uid {}, process {}): {}",
            peer.uid,
            peer.pid,
            refusal.text()
        ));
        self.lose(id);
    }

    /// The connection is over; lanes, if there are any, are drained by their shards.
    fn lose(&mut self, id: ClientId) {
        let shards_left = self.house.orders.len();
        let Some(client) = self.clients.get_mut(id) else { return };
        client.fd = None;
        match &client.stage {
            Stage::Greeting { .. } | Stage::Waiting { .. } | Stage::Asking(_) | Stage::Told { .. } => {
                self.clients.remove(id);
            }
            Stage::Opening { session, .. } | Stage::Attached { session } => {
                client.stage = Stage::Leaving { session: *session, shards_left };
                for orders in &self.house.orders {
                    orders.send(Order::Detach { client: id });
                }
            }
            Stage::Leaving { .. } => {}
        }
    }

    fn expire(&mut self) {
        for id in self.clients.overdue(Instant::now()) {
            match self.clients.get_mut(id).map(|client| &client.stage) {
                Some(Stage::Waiting { .. }) => self.refuse(id, AttachRefusal::SessionInUse),
                Some(Stage::Opening { .. }) => self.refuse(id, AttachRefusal::NoLeader),
                Some(Stage::Asking(asking)) => {
                    let refusal = asking.overdue();
                    self.refuse(id, refusal);
                }
                _ => {
                    self.house.counts.malformed.fetch_add(1, Ordering::Relaxed);
                    self.refuse(id, AttachRefusal::Malformed);
                }
            }
        }
    }

    /// Nobody came back for them: they make room in the tables of sessions.
    fn close_dead_sessions(&mut self) {
        while let Some(session) = self.detached.next_dead(Instant::now()) {
            tracing::info!(%session, "session closed: nobody came back for it");
            for orders in &self.house.orders {
                orders.send(Order::CloseSession { session });
            }
        }
    }

    /// No more clients; the shards answer what they have, flush, and end.
    fn stop(&mut self) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        self.listener_is_open = false;
        self.house.listener.unlink();
        for id in self.clients.ids() {
            let is_waiting = self.clients.get_mut(id).is_some_and(|client| client.stage.deadline().is_some());
            if is_waiting {
                self.refuse(id, AttachRefusal::ShuttingDown);
            }
        }
        for orders in &self.house.orders {
            orders.send(Order::Stop);
        }
    }
}

/// What a wait brought.
#[derive(Debug, Default)]
struct Ready {
    listener: bool,
    clients: Vec<ClientId>,
}

/// A warning at most once a second, with the number of those left out: strangers must not fill the log.
#[derive(Debug, Default)]
struct RareLog {
    last: Option<Instant>,
    left_out: u64,
}

impl RareLog {
    fn warn(&mut self, what: std::fmt::Arguments<'_>) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(1)) {
            self.left_out += 1;
            return;
        }
        tracing::warn!(left_out = self.left_out, "{what}");
        (self.last, self.left_out) = (Some(now), 0);
    }
}

fn send_welcome(
    house: &House,
    fd: &OwnedFd,
    peer: Peer,
    session: SessionId,
    rights: &Rights,
    lanes: &[OwnedFd],
) -> Result<(), rustix::io::Errno> {
    let genesis = &house.identity.genesis.genesis;
    // The empty prefix allows all.
    let all = || vec![Vec::new()];
    let welcome = Welcome {
        cluster: house.identity.cluster,
        node: house.identity.node,
        session,
        token: house.identity.tokens.token(session, peer.uid),
        layout_version: LAYOUT_VERSION,
        shards: genesis.shards,
        hash_seed: genesis.hash_seed,
        incarnation: house.incarnation,
        prefixes: if rights.prefixes().is_empty() { all() } else { rights.prefixes().to_vec() },
    };
    let packet = welcome.encode().expect("the configuration bounds prefixes and shards");
    socket::send(fd, &packet, &[])?;
    for (shard, (door, lane)) in house.identity.shards().zip(house.doors.iter().zip(lanes)) {
        let packet = ShardDoor { shard }.encode().expect("the genesis bounds the shards");
        let descriptors = [&door.hot, &door.feed, &door.counters, lane, &door.bell].map(AsFd::as_fd);
        socket::send(fd, &packet, &descriptors)?;
    }
    Ok(())
}

/// What a client is told when a shard did not take it.
fn attach_refusal(code: RefusalCode) -> AttachRefusal {
    match code {
        RefusalCode::SessionUnknown | RefusalCode::SessionExpired => AttachRefusal::ResumeRefused,
        RefusalCode::ShuttingDown => AttachRefusal::ShuttingDown,
        RefusalCode::NotLeader => AttachRefusal::NoLeader,
        _ => AttachRefusal::ResourcesExhausted,
    }
}

/// How long a client waits for a session that its dying predecessor still holds.
const RESUME_PATIENCE: Duration = Duration::from_secs(2);
/// Housekeeping looks around at least this often.
const LOOK_AROUND: Duration = Duration::from_secs(5);
const ACCEPTS_PER_ROUND: usize = 64;
/// Connections beyond `CLIENTS_MAX` that may be open at once, in their handshake.
const GREETED_AT_ONCE_MAX: usize = 32;
