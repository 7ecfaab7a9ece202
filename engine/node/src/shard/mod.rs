//! The shard loop: rings in, log completions, machine, effects out.
//!
//! Invariant: one turn never waits, and allocates nothing unless a client comes or goes.

mod admission;
mod answers;
mod arbitrators;
mod archive;
mod archivist;
mod board;
mod boot;
mod clerk;
mod evident;
mod judges;
mod lanes;
mod peers;
mod recovery;
mod refusals;
mod teller;
mod watch;
mod world;

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

use io_oi_record::evidence::SignedEvidence;
use io_oi_record::limits::PROPOSAL_BYTES_MAX;
use io_oi_record::{
    DecodeError, Epoch, Hash, Nanos, NodeId, Now, Operation, Outcome, Proposal, Receipt, RefusalCode,
    Sequence, SessionId, SessionSequence, Stage,
};
use io_oi_shard::{Event, Machine, Notice as MachineNotice, Origin, ProposalState, SessionState};
use io_oi_shm::bell::Bell;
use io_oi_shm::lane::NodeLane;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::archivist::Archivist;
use self::board::Look;
use self::lanes::{LaneSlot, LaneState, Newcomer, Taken};
use self::peers::Peers;
use self::teller::Teller;
use self::watch::FlushWatch;
use self::world::World;
use crate::attach::AttachCounts;
use crate::clock::{Clock, mono_time};
use crate::court::Looked;
use crate::executor::Hosted;
use crate::mail::{Attachment, LastWord, Notice, Order, OrderBox};

pub(crate) use self::answers::{Answered, Question, ShardState};
pub(crate) use self::arbitrators::versions;
pub(crate) use self::boot::{Boot, Door, boot};
pub use self::boot::{BootError, BootReason, RecoveryProgress};
pub use self::peers::AddressError;

/// One shard at work.
pub(crate) struct Shard {
    machine: Machine,
    world: World,
    orders: OrderBox,
    /// Sessions that are to be closed when the machine is ready.
    dead_sessions: VecDeque<SessionId>,
    watch: FlushWatch,
    bell: Bell,
    attach_counts: std::sync::Arc<AttachCounts>,
    node: NodeId,
    boot: u32,
    teller: Teller,
    phase: Phase,
    frame: Box<[u8]>,
    beaten_at: Nanos,
    has_failed: bool,
    archivist: Archivist,
    /// Spoken when everything else is gone.
    _last_word: LastWord,
}

/// Where the shard is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Taking proposals.
    Serving,
    /// Asked to stop: takes what already stands in the rings.
    Draining { until: Nanos },
    /// Takes nothing, brings everything to disk.
    Closing,
    /// Over, in order or not.
    Done,
}

impl Hosted for Shard {
    fn poll(&mut self, clock: &mut Clock) -> bool {
        let worked = self.turn(clock);
        if self.world.fault.is_some() {
            self.stop_loudly();
        }
        worked
    }

    fn look(&mut self, clock: &mut Clock) {
        self.look_around(clock);
        if self.world.fault.is_some() {
            self.stop_loudly();
        }
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    fn park_time_max(&self) -> Option<Duration> {
        if self.phase != Phase::Serving {
            return None;
        }
        if self.world.wal.is_in_flight() {
            return Some(PARK_IN_FLIGHT);
        }
        let of_peers = self.world.peers.as_ref().and_then(Peers::next_timer);
        let Some(at) = [self.world.wake_at, of_peers].into_iter().flatten().min() else { return Some(PARK) };
        Some(PARK.min(Duration::from_nanos(at.since(mono_time()))))
    }

    fn park(&mut self, time_max: Duration) -> bool {
        self.world.hot.set_parked(true);
        // The look that no push escapes: whoever pushed before it is seen, whoever pushes after it sees us parked.
        let is_needed = self.orders.is_flagged() || self.world.lanes.has_frames();
        let rang = is_needed || self.sleep(time_max);
        self.world.hot.set_parked(false);
        self.world.tally.parks += 1;
        rang
    }

    fn finish(self) {
        let Self { world, _last_word, .. } = self;
        if !self.has_failed
            && let Err(failed) = world.wal.close()
        {
            world.notices.send(Notice::Failed { what: failed.to_string() });
        }
    }
}

impl Shard {
    /// One turn of the loop; a fault is left for the caller.
    #[inline]
    fn turn(&mut self, clock: &mut Clock) -> bool {
        let mut worked = self.orders.is_flagged() && self.read_orders(clock);
        worked |= self.poll_lanes(clock);
        worked |= !self.dead_sessions.is_empty() && self.close_dead_session(clock);
        worked |= !self.world.governing.is_idle() && self.submit_governance(clock.now());
        worked |= self.poll_peers(clock);
        worked |= self.poll_log(clock);
        worked |= self.poll_phase(clock);
        if worked && clock.is_read() {
            self.poll_timer(clock);
            self.follow_machine();
            self.show_life(clock.now());
        }
        worked
    }

    /// An idle turn that may look at the clock.
    fn look_around(&mut self, clock: &mut Clock) {
        let now = clock.now();
        self.world.note_log_room();
        self.poll_timer(clock);
        self.follow_machine();
        self.show_life(now);
    }

    /// Sleeps until a client, housekeeping or a peer has something, at most so long. Says whether anybody had.
    fn sleep(&self, time_max: Duration) -> bool {
        let Some(peers) = &self.world.peers else {
            return self.bell.wait_either(self.orders.bell(), time_max);
        };
        let bells = [self.bell.fd(), self.orders.bell().fd()];
        let mut polled =
            [bells[0], bells[1], peers.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let timeout = Timespec { tv_sec: time_max.as_secs() as i64, tv_nsec: time_max.subsec_nanos().into() };
        let has_any = poll(&mut polled, Some(&timeout)).is_ok_and(|ready| ready > 0);
        let has_packet = !polled[2].revents().is_empty();
        let rang = self.bell.silence() | self.orders.bell().silence();
        has_any && (rang || has_packet)
    }

    /// What the other nodes say: a bounded number of frames, then everything that follows from them at once.
    #[inline]
    fn poll_peers(&mut self, clock: &mut Clock) -> bool {
        let Some(peers) = &mut self.world.peers else { return false };
        if !peers.poll(clock.now().mono) {
            return false;
        }
        let now = clock.now();
        for _ in 0..FRAMES_FROM_PEERS_PER_TURN {
            let Some(frame) = self.world.peers.as_mut().and_then(Peers::next_frame) else { break };
            self.machine.handle(now, Event::Received { from: NodeId(frame.from), bytes: frame.bytes });
            self.world.perform_all(&mut self.machine, now);
        }
        if let Some(peers) = &mut self.world.peers {
            peers.flush();
        }
        self.world.push_out();
        true
    }

    /// What the machine wants known: to operators, to the endpoint, to readers who need the lease.
    #[inline]
    fn follow_machine(&mut self) {
        while let Some(notice) = self.machine.poll_notice() {
            self.teller.tell(&notice);
            match notice {
                MachineNotice::EvidenceFound { hash, .. } => self.keep_evidence(hash),
                MachineNotice::ComponentsChanged => self.look_at_components(),
                _ => {}
            }
        }
        self.world.board.show_lease(&self.machine);
        if let Some(peers) = &mut self.world.peers {
            if peers.is_outdated(&self.machine) {
                peers.follow_members(&self.machine, self.node);
            }
            peers.tell();
        }
    }

    /// Components that were stored lately go to the clerk: compiling takes milliseconds.
    #[cold]
    fn look_at_components(&mut self) {
        while let Some((component, bytes)) = self.machine.next_to_admit() {
            self.world.clerk.admit(component, bytes);
        }
    }

    #[cold]
    fn admitted(&mut self, component: Hash, looked: Looked, now: Now) {
        self.teller.tell_admission(component, &looked);
        let is_admitted = self.world.judges.note(component, looked);
        self.machine.handle(now, Event::Admitted { component, is_admitted });
        self.world.drain(&mut self.machine, now);
    }

    /// Evidence stands in the log, and in a file of its own for whoever wants to carry it away.
    #[cold]
    fn keep_evidence(&mut self, hash: Hash) {
        let found = self.machine.evidence().find(|signed| signed.evidence.hash() == hash);
        if let Some(Ok(bytes)) = found.map(SignedEvidence::encode) {
            self.world.clerk.keep_evidence(hash, bytes);
        }
    }

    /// Rings in: every lane gets its turn, none more than a bounded number of frames.
    #[inline]
    fn poll_lanes(&mut self, clock: &mut Clock) -> bool {
        let count = self.world.lanes.count();
        let mut worked = false;
        for index in 0..count {
            if !self.machine.is_ready() {
                break;
            }
            let slot = self.world.lanes.in_turn(index);
            let state = self.world.lanes.get(slot).state;
            match state {
                LaneState::Open | LaneState::Draining { .. } => worked |= self.poll_lane(slot, clock),
                // Without a leader it waits here, so that a client that gives up leaves nothing behind.
                LaneState::Opening { is_submitted: false } if self.machine.leader().is_some() => {
                    worked |= self.open_session(slot, clock);
                }
                _ => {}
            }
        }
        self.world.lanes.rotate();
        self.machine.gather(false);
        if worked {
            self.world.drain(&mut self.machine, clock.now());
        }
        worked | self.reap()
    }

    #[inline]
    fn poll_lane(&mut self, slot: LaneSlot, clock: &mut Clock) -> bool {
        let lane = self.world.lanes.get_mut(slot);
        let answerable = lane.frames_answerable();
        let mut worked = false;
        self.machine.gather(answerable > 0);
        for _ in 0..answerable.min(FRAMES_PER_LANE_AND_TURN) {
            if !self.machine.is_ready() {
                break;
            }
            match self.world.lanes.get_mut(slot).take(&mut self.frame) {
                Taken::Nothing => break,
                Taken::Frame(bytes) => self.take_frame(slot, bytes, clock.now()),
                Taken::Corrupt(what) => self.break_lane(slot, what),
            }
            worked = true;
        }
        worked
    }

    /// One frame out of a lane: refused at once, or submitted.
    #[inline]
    fn take_frame(&mut self, slot: LaneSlot, bytes: usize, now: Now) {
        self.world.tally.proposals += 1;
        let frame = &self.frame[..bytes];
        let proposal = match Proposal::decode(frame) {
            Ok(proposal) => proposal,
            Err(error) => return self.refuse_undecoded(slot, bytes, &error, now),
        };
        let lane = self.world.lanes.get(slot);
        let session = lane.session;
        if proposal.operation == Operation::CloseSession {
            if let Err(code) = self.world.admit_session()
                && self.machine.session_state(session) == SessionState::Open
            {
                let receipt = refusal(proposal.session_sequence, now.wall, code);
                return self.answer_at_once(slot, &receipt);
            }
            self.machine.handle(now, Event::close_session(session));
            return self.world.drain(&mut self.machine, now);
        }
        if let Err(code) = self.world.admit(&proposal, slot)
            && self.machine.proposal_state(session, proposal.session_sequence) == ProposalState::Fresh
        {
            let receipt = refusal(proposal.session_sequence, now.wall, code);
            return self.answer_at_once(slot, &receipt);
        }
        self.world.note_admitted();
        self.machine.handle(now, Event::Submitted { origin: Origin::Client, session, proposal });
        self.world.drain(&mut self.machine, now);
    }

    /// Well-framed but badly shaped is the client's mistake, and answered; bytes that are no proposal break the lane.
    #[cold]
    fn refuse_undecoded(&mut self, slot: LaneSlot, bytes: usize, error: &DecodeError, now: Now) {
        let is_shape = matches!(error, DecodeError::Shape(_));
        let known =
            if is_shape { peek_session_sequence(&self.frame[..bytes]) } else { SessionSequence::NONE };
        let code = if is_shape { error.refusal() } else { RefusalCode::Malformed };
        self.world.tally.malformed += 1;
        self.answer_at_once(slot, &refusal(known, now.wall, code));
        if !is_shape {
            self.break_lane(slot, error.to_string());
        }
    }

    fn answer_at_once(&mut self, slot: LaneSlot, receipt: &Receipt) {
        self.world.tally.receipts += 1;
        self.world.tally.note_outcome(receipt.outcome);
        if !self.world.lanes.get_mut(slot).answer(receipt) {
            self.world.tally.receipts_undelivered += 1;
        }
    }

    #[cold]
    fn break_lane(&mut self, slot: LaneSlot, what: String) {
        self.world.tally.lanes_broken += 1;
        let lane = self.world.lanes.get_mut(slot);
        if matches!(lane.state, LaneState::Draining { .. }) {
            lane.state = LaneState::Leaving; // Dead already: what it left ends here.
            return;
        }
        lane.state = LaneState::Broken;
        self.world.notices.send(Notice::Broken { client: lane.client, what });
    }

    fn open_session(&mut self, slot: LaneSlot, clock: &mut Clock) -> bool {
        if let Err(code) = self.world.admit_session() {
            self.world.opened(slot, Outcome::Refused(code));
            return true;
        }
        let now = clock.now();
        let lane = self.world.lanes.get_mut(slot);
        lane.state = LaneState::Opening { is_submitted: true };
        lane.note_submitted();
        let session = lane.session;
        self.machine.handle(now, Event::open_session(session));
        self.world.drain(&mut self.machine, now);
        true
    }

    /// Log completions: what they commit is shown and answered at once.
    #[inline]
    fn poll_log(&mut self, clock: &mut Clock) -> bool {
        let Some(through) = self.world.poll_log() else { return false };
        let now = clock.now();
        self.machine.handle(now, Event::Durable { through });
        self.world.drain(&mut self.machine, now);
        true
    }

    fn poll_timer(&mut self, clock: &mut Clock) {
        if let Some(at) = self.world.wake_at {
            let now = clock.now();
            if at <= now.mono {
                self.world.wake_at = None;
                self.machine.handle(now, Event::Elapsed);
                self.world.drain(&mut self.machine, now);
            }
        }
    }

    /// Lanes that are drained and answered are forgotten.
    #[inline]
    fn reap(&mut self) -> bool {
        let mut worked = false;
        while let Some(slot) = self.world.lanes.next_gone() {
            self.forget(slot);
            worked = true;
        }
        worked
    }

    fn forget(&mut self, slot: LaneSlot) {
        let (client, pins) = self.world.lanes.remove(slot);
        self.world.hot.remove_pins(pins);
        self.world.tally.lanes_now -= 1;
        self.world.notices.send(Notice::Detached { client });
    }

    #[cold]
    fn read_orders(&mut self, clock: &mut Clock) -> bool {
        let mut worked = false;
        while let Some(order) = self.orders.next() {
            worked = true;
            match order {
                Order::Attach(attachment) => self.attach(*attachment),
                Order::Detach { client } => {
                    if let Some(slot) = self.world.lanes.find_client(client) {
                        self.world.lanes.start_leaving(slot);
                    }
                }
                Order::CloseSession { session } => self.dead_sessions.push_back(session),
                Order::Ask { client, question } => self.answer(client, question, clock.now()),
                Order::Promised { epoch, result } => self.world.promised(epoch, result),
                Order::MuteKept { result } => match result {
                    Ok(()) => {
                        let now = clock.now();
                        self.machine.handle(now, Event::MuteKept);
                        self.world.drain(&mut self.machine, now);
                    }
                    Err(what) => self.world.fail(what),
                },
                Order::Fetched { sequence, bytes } => {
                    let now = clock.now();
                    self.machine.handle(now, Event::Fetched { sequence, bytes: bytes.as_deref() });
                    self.world.drain(&mut self.machine, now);
                }
                Order::Admitted { component, looked } => self.admitted(component, looked, clock.now()),
                Order::Peers(found) => {
                    if let Some(peers) = &mut self.world.peers {
                        peers.set(&found);
                    }
                }
                Order::Stop if self.phase == Phase::Serving => {
                    self.phase = Phase::Draining { until: clock.now().mono.saturating_add(DRAINING_NS_MAX) };
                }
                Order::Stop => {}
            }
        }
        worked
    }

    /// Closes a session that nobody came back for, when the machine is ready and the log has room.
    #[cold]
    fn close_dead_session(&mut self, clock: &mut Clock) -> bool {
        let is_possible = self.phase == Phase::Serving
            && self.machine.leader().is_some()
            && self.machine.is_ready()
            && self.world.admit_session().is_ok();
        if !is_possible {
            return false;
        }
        let Some(session) = self.dead_sessions.pop_front() else { return false };
        if self.machine.session_state(session) == SessionState::Open {
            let now = clock.now();
            self.machine.handle(now, Event::close_session(session));
            self.world.drain(&mut self.machine, now);
        }
        true
    }

    fn attach(&mut self, attachment: Attachment) {
        let Attachment { client, session, is_new, lane, rights } = attachment;
        self.dead_sessions.retain(|dead| *dead != session);
        let result = if self.phase != Phase::Serving {
            Err(RefusalCode::ShuttingDown)
        } else if is_new {
            self.world.admit_session()
        } else if self.machine.session_state(session) != SessionState::Open {
            Err(RefusalCode::SessionUnknown)
        } else {
            Ok(())
        };
        let NodeLane { proposals, receipts, pins } = lane;
        let pins = self.world.hot.add_pins(pins);
        let slot =
            self.world.lanes.add(Newcomer { client, session, is_new, rights, proposals, receipts, pins });
        self.world.tally.lanes_now += 1;
        match result {
            Ok(()) if is_new => {} // Its session is opened through the log first.
            Ok(()) => self.world.notices.send(Notice::Attached { client, result }),
            Err(_) => {
                self.world.lanes.get_mut(slot).state = LaneState::Broken;
                self.world.notices.send(Notice::Attached { client, result });
            }
        }
    }

    /// Stopping, step by step; costs a comparison while serving.
    #[inline]
    fn poll_phase(&mut self, clock: &mut Clock) -> bool {
        match self.phase {
            Phase::Serving | Phase::Done => false,
            Phase::Draining { until } => {
                if clock.now().mono >= until || !self.world.lanes.has_frames() {
                    self.phase = Phase::Closing;
                    self.world.gate.shut_down();
                    self.machine.close(clock.now());
                }
                self.world.drain(&mut self.machine, clock.now());
                true
            }
            Phase::Closing => {
                self.world.drain(&mut self.machine, clock.now());
                if self.machine.is_closed() && self.world.wal.is_idle() {
                    self.end(clock.now());
                }
                true
            }
        }
    }

    fn end(&mut self, now: Now) {
        self.show_board(now);
        self.phase = Phase::Done;
    }

    /// A shard that cannot keep its promises keeps nothing: it says why, and ends.
    #[cold]
    fn stop_loudly(&mut self) {
        let what = self.world.fault.take().expect("called with a fault");
        tracing::error!(shard = %self.world.shard, what, "shard stops");
        self.world.notices.send(Notice::Failed { what });
        self.has_failed = true;
        self.phase = Phase::Done;
    }

    #[inline]
    fn show_life(&mut self, now: Now) {
        if now.mono.since(self.beaten_at) >= BEAT_EVERY_NS {
            self.beaten_at = now.mono;
            self.world.hot.beat(now.wall.get());
            if self.world.board.is_due(now) {
                self.archivist.tell(self.world.wal.sealed_through());
                self.watch.look(self.world.shard, &self.world.wal);
                self.show_board(now);
            }
        }
    }

    fn show_board(&mut self, now: Now) {
        let World { tally, wal, hot, gate, peers, board, .. } = &mut self.world;
        let (attach, is_disk_full) = (self.attach_counts.values(), gate.is_log_full());
        let look =
            Look { tally, machine: &self.machine, wal, hot, peers, boot: self.boot, attach, is_disk_full };
        board.show(now, &look);
    }
}

/// The answer to a proposal that gets no place in the order.
fn refusal(session_sequence: SessionSequence, now: Nanos, code: RefusalCode) -> Receipt {
    Receipt {
        session_sequence,
        sequence: Sequence::NONE,
        epoch: Epoch::NONE,
        time: now,
        stage: Stage::Submitted,
        durability: io_oi_record::Durability::Local,
        outcome: Outcome::Refused(code),
    }
}

/// The session sequence of a frame that is a proposal in all but its shape; zero when it is too short for one.
fn peek_session_sequence(frame: &[u8]) -> SessionSequence {
    let bytes = frame.get(SESSION_SEQUENCE_AT..SESSION_SEQUENCE_AT + 8);
    SessionSequence(bytes.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes"))))
}

/// Where the head of an encoded proposal carries it; drawn in the format page of the record room.
const SESSION_SEQUENCE_AT: usize = 12;
/// Fair to many clients, and still enough to fill a block from one of them between two looks at the log.
const FRAMES_PER_LANE_AND_TURN: usize = 64;
/// As many as a busy follower sends between two looks at the rings; more stay in their streams and hold senders back.
const FRAMES_FROM_PEERS_PER_TURN: usize = 64;
/// Stopping takes what stands in the rings; a client that goes on pushing is cut off after this long.
const DRAINING_NS_MAX: u64 = 1_000_000_000;
/// Readers take a heartbeat older than seconds for a reason to worry.
const BEAT_EVERY_NS: u64 = 1_000_000;
/// A parked shard beats ten times a second.
const PARK: Duration = Duration::from_millis(100);
/// While a flush is under way the shard looks again soon.
const PARK_IN_FLIGHT: Duration = Duration::from_micros(100);
const _: () = assert!(PROPOSAL_BYTES_MAX < 1 << 20);
