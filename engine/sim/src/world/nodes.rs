//! The nodes in the world: what reaches them, and what they want of it.
//!
//! Invariant: a process that stands still sees nothing, one that died sees nothing ever again; what a disk was doing when
//! its process died is not sure.

use std::rc::Rc;

use io_oi_record::{Message, NodeId, Sequence};
use io_oi_shard::{Event, Lane, Notice, PastLost};

use super::{What, World};
use crate::checkers::Said;
use crate::liar::Told;
use crate::node::BootFailure;
use crate::planted::Bug;
use crate::process::{Io, Out, Process, Stop};
use crate::sights::Sight;
use crate::wire::Wire;

const RESTART_NS: u64 = 10_000_000;
const FETCH_NS: u64 = 100_000;
/// Seals that came before their blocks, as many as a machine keeps.
const SEALS_EARLY: usize = 4;

/// A silenced node is killed once more when it has done so much: by then its log looks whole.
const SILENCED_STEPS: u64 = 300;

impl World {
    /// Lets a node's process work, and then does what it wants.
    pub(super) fn with_process(
        &mut self,
        node: usize,
        work: impl FnOnce(&mut Process, &mut Io<'_>) -> Result<(), Stop>,
    ) {
        let it = &mut self.nodes[node];
        let Some(process) = it.process.as_mut() else { return };
        let mut io = Io {
            time: self.time,
            now: it.clock.at(self.time),
            node,
            witness: &mut self.witness,
            story: &mut self.story,
            sights: &mut self.sights,
            out: &mut self.out,
            steps: &mut it.kill_after,
            promised: &mut it.promised,
            bug: self.bug,
        };
        let worked = work(process, &mut io);
        self.note_leading(node);
        self.check_leases(node);
        self.act_on_changes();
        self.do_all(node);
        match worked {
            Ok(()) => {}
            Err(Stop::Killed) => {
                let is_power_cut = self.random.chance(600);
                self.kill(node, is_power_cut);
            }
            Err(Stop::Fault(what)) => {
                self.story.tell(self.time, format_args!("n{node} stops: {what}"));
                self.kill(node, false);
            }
        }
    }

    fn note_leading(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        if !process.machine.is_leading() {
            return;
        }
        let epoch = process.machine.epoch();
        match self.newest_leader {
            Some((newest, _)) if newest >= epoch => {}
            before => {
                self.sights.see(Sight::Lead);
                if before.is_some_and(|(_, leader)| leader != node) {
                    self.sights.see(Sight::LeaderChange);
                }
                self.newest_leader = Some((epoch, node));
                self.story.tell(self.time, format_args!("n{node} leads epoch {epoch}"));
            }
        }
    }

    fn do_all(&mut self, node: usize) {
        let boot = self.nodes[node].boot;
        let mut out = std::mem::take(&mut self.out);
        for wanted in out.drain(..) {
            match wanted {
                Out::Send { to, lane, bytes } => self.send(node, to, lane, bytes),
                Out::Reply { session, receipt } => self.reply(node, session, receipt),
                Out::Flush => {
                    let at = self.time + self.flush_takes(node);
                    self.at(at, What::Flush { node, boot });
                }
                Out::Wake { at } => {
                    let it = &mut self.nodes[node];
                    if it.wake_at.is_none_or(|earlier| at < earlier) {
                        it.wake_at = Some(at);
                        let due = it.clock.time_of(at);
                        self.at(due, What::Wake { node, boot });
                    }
                }
                Out::Notice(notice) => self.notice(node, notice),
                Out::KeepMute { past_lost } => {
                    let at = self.time + self.flush_takes(node);
                    self.at(at, What::KeepMute { node, boot, past_lost });
                }
                Out::Fetch { sequence } => {
                    self.at(self.time + FETCH_NS, What::Fetch { node, boot, sequence })
                }
            }
        }
        self.out = out;
    }

    fn notice(&mut self, node: usize, notice: Notice) {
        if let Notice::EvidenceFound { accused, hash } = notice {
            let Some(accused) = self.cluster.index_of(accused) else { return };
            if self.witness.liars >> accused & 1 == 1 {
                if self.convicted.is_empty() {
                    self.bar(self.nodes[accused].identity.node, hash);
                }
                self.convicted.insert((node, accused));
                self.detach_all(accused);
                self.nodes[accused].is_shunned = true;
                if self.appointed == Some(accused) {
                    self.appoint_somebody();
                }
            } else {
                let what = format!("n{node} has evidence against n{accused}, which is honest");
                self.witness.note(self.time, "signing", Err(what));
            }
        }
    }

    fn flush_takes(&mut self, node: usize) -> u64 {
        let factor = self.nodes[node].flush_factor;
        if factor > 1 {
            self.sights.see(Sight::SlowFlush);
        }
        let usual = self.random.latency(self.scenario.flush_ns, self.scenario.flush_tail);
        let until_calm = self.scenario.calm_at.saturating_sub(self.time);
        (usual * factor).min(until_calm + usual)
    }

    fn send(&mut self, from: usize, to: NodeId, lane: Lane, bytes: Rc<[u8]>) {
        let Some(to) = self.cluster.index_of(to) else {
            self.witness.note(self.time, "network", Err(format!("n{from} sends to {to}, which nobody is")));
            return;
        };
        let Some(wire) = Wire::read(&self.cluster, &bytes) else {
            let what = format!("n{from} sends {} bytes that are no message", bytes.len());
            self.witness.note(self.time, "network", Err(what));
            return;
        };
        let process = self.nodes[from].process.as_ref();
        let leads = process.map(|it| (it.machine.is_leading(), it.machine.epoch()));
        let said = wire.said(&self.cluster, |epoch| leads == Some((true, epoch)));
        self.witness.said(self.time, from, &said);
        match wire.message() {
            Message::Forward(_) => self.sights.see(Sight::Forward),
            Message::HandOver(_) => self.sights.see(Sight::HandOver),
            _ => {}
        }
        if self.story.is_heard() {
            let fate = if self.network.is_cut(from, to) { " (cut)" } else { "" };
            self.story.tell(self.time, format_args!("n{from} -> n{to}{fate} {wire}"));
        }
        let liar = self.liar.as_mut().filter(|liar| liar.node == from);
        let told =
            liar.map_or(Told::Truth, |liar| liar.tell(&self.cluster, to, wire.epoch(), wire.message()));
        match told {
            Told::Truth => self.carry(from, to, lane, &bytes),
            Told::Instead(lie) => {
                self.trial.lied_at = self.time;
                self.story.tell(self.time, format_args!("n{from} LIES to n{to}"));
                self.carry(from, to, lane, &lie);
            }
            Told::Beside(lie) => {
                self.trial.lied_at = self.time;
                self.story.tell(self.time, format_args!("n{from} LIES to all others"));
                self.carry(from, to, lane, &bytes);
                for other in (0..self.nodes.len()).filter(|other| *other != from) {
                    self.carry(from, other, lane, &lie);
                }
            }
        }
    }

    fn carry(&mut self, from: usize, to: usize, lane: Lane, bytes: &Rc<[u8]>) {
        let from_id = self.nodes[from].identity.node;
        let arrivals = self.network.arrivals(self.time, from, to, lane);
        for at in arrivals.iter() {
            self.at(at, What::Deliver { to, from: from_id, bytes: Rc::clone(bytes) });
        }
    }

    /// Whether the node can see something now; what it cannot see while it stands still comes back later.
    fn is_awake(&mut self, node: usize, what: impl FnOnce() -> What) -> bool {
        let until = self.nodes[node].paused_until;
        if self.nodes[node].is_up() && until > self.time {
            self.at(until, what());
            return false;
        }
        self.nodes[node].is_up()
    }

    pub(super) fn deliver(&mut self, to: usize, from: NodeId, bytes: Rc<[u8]>) {
        if self.is_awake(to, || What::Deliver { to, from, bytes: Rc::clone(&bytes) }) {
            self.with_process(to, |process, io| process.handle(io, Event::Received { from, bytes: &bytes }));
            self.hear_liar(to, from, &bytes);
        }
    }

    /// Notes what the liar itself has signed to this node. A seal counts once its block is there, in its epoch: one that comes
    /// first waits for it, and one that comes when the block is decided counts no more, for it may be forgotten.
    fn hear_liar(&mut self, to: usize, from: NodeId, bytes: &[u8]) {
        let lies = self.liar.as_ref().is_some_and(|liar| self.nodes[liar.node].identity.node == from);
        let (Some(process), true) = (&self.nodes[to].process, lies) else { return };
        let Some(wire) = Wire::read(&self.cluster, bytes) else { return };
        let said = wire.said(&self.cluster, |_| true);
        let (epoch, at) = (process.machine.epoch(), (to, self.nodes[to].boot));
        let is_here = |said: &Said| matches!(said, Said::Sealed { epoch: of, hash, .. } if *of == epoch && process.holds(*hash));
        let ready = |(whose, said): &mut _| *whose == at && is_here(said);
        let early: Vec<((usize, u32), Said)> = self.early_seals.extract_if(.., ready).collect();
        let is_heard = !matches!(wire.message(), Message::Seal(_)) || is_here(&said);
        if !is_heard {
            self.early_seals.push((at, said));
        }
        // A machine keeps the newest few; a later one covers the others.
        let is_its = |(whose, _): &((usize, u32), Said)| *whose == at;
        if self.early_seals.iter().filter(|seal| is_its(seal)).count() > SEALS_EARLY {
            let oldest = self.early_seals.iter().position(is_its);
            self.early_seals.remove(oldest.expect("there are some"));
        }
        // Whether a machine that followed nobody kept an early one is not sure: it proves nothing in the end.
        early.iter().for_each(|(_, said)| self.weigh(to, said));
        if is_heard {
            self.weigh(to, &said);
            if self.heard.entry(at).or_default().check(to, &said).is_err() {
                self.proven.insert(at);
            }
        }
    }

    pub(super) fn flush(&mut self, node: usize, boot: u32) {
        if self.nodes[node].boot == boot && self.is_awake(node, || What::Flush { node, boot }) {
            self.with_process(node, Process::flush_done);
        }
    }

    pub(super) fn wake(&mut self, node: usize, boot: u32) {
        if self.nodes[node].boot != boot || !self.is_awake(node, || What::Wake { node, boot }) {
            return;
        }
        let it = &mut self.nodes[node];
        if it.wake_at.is_some_and(|at| at <= it.clock.at(self.time).mono) {
            it.wake_at = None;
            self.with_process(node, |process, io| process.handle(io, Event::Elapsed));
        }
    }

    pub(super) fn fetch(&mut self, node: usize, boot: u32, sequence: Sequence) {
        if self.nodes[node].boot == boot && self.is_awake(node, || What::Fetch { node, boot, sequence }) {
            self.with_process(node, |process, io| process.fetch_done(io, sequence));
        }
    }

    /// The promise file says that the node is mute for good; whoever dies before that finds it anew.
    pub(super) fn keep_mute(&mut self, node: usize, boot: u32, past_lost: PastLost) {
        if self.nodes[node].boot == boot && self.is_awake(node, || What::KeepMute { node, boot, past_lost }) {
            self.nodes[node].is_silenced = true;
            if self.bug != Some(Bug::ForgetsMute) {
                self.nodes[node].past_lost.get_or_insert(past_lost);
            }
            self.with_process(node, |process, io| process.handle(io, Event::MuteKept));
            if self.time < self.scenario.calm_at {
                self.nodes[node].kill_after.get_or_insert(SILENCED_STEPS);
            }
        }
    }

    /// Starts a node whose time has come.
    pub(super) fn start(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.is_up() || it.down_until > self.time {
            return;
        }
        it.paused_until = 0;
        self.trial.settled_at = self.trial.settled_at.max(self.time);
        it.clock.power_on(self.time, self.random.between(1, 1 << 40));
        let seed = self.random.next();
        let mut io = Io {
            time: self.time,
            now: it.clock.at(self.time),
            node,
            witness: &mut self.witness,
            story: &mut self.story,
            sights: &mut self.sights,
            out: &mut self.out,
            steps: &mut it.kill_after.take(),
            promised: &mut it.promised.clone(), // The boot itself raises it.
            bug: self.bug,
        };
        let started = it.start(&self.cluster, &self.setup, seed, &mut io);
        self.story
            .tell(self.time, format_args!("n{node} starts (boot {}): {started:?}", self.nodes[node].boot));
        self.note_leading(node);
        self.look_for_silence(node);
        self.do_all(node);
        match started {
            Ok(()) => {}
            Err(BootFailure::NoSpace) => {
                self.nodes[node].process = None;
                self.start_later(node, 20 * RESTART_NS);
            }
            Err(BootFailure::Killed) => self.kill(node, true),
            Err(BootFailure::Broken(what)) => {
                let what = format!("n{node} does not start: {what}");
                self.witness.note(self.time, "recovery", Err(what));
            }
        }
    }

    /// Whoever was mute for good once is so after every start.
    fn look_for_silence(&mut self, node: usize) {
        let it = &self.nodes[node];
        let Some(process) = it.process.as_ref().filter(|_| it.is_silenced) else { return };
        if process.machine.mute().is_some() {
            self.sights.see(Sight::MuteAgain);
        } else {
            let what = format!("n{node} was mute for good and is not after a restart");
            self.witness.note(self.time, "signing", Err(what));
        }
    }

    pub(super) fn start_later(&mut self, node: usize, ns: u64) {
        let at = self.time + ns;
        self.nodes[node].down_until = at;
        self.at(at, What::Start { node });
    }

    /// The process ends here; it is started again when its time comes.
    pub(super) fn kill(&mut self, node: usize, is_power_cut: bool) {
        let it = &mut self.nodes[node];
        if it.process.take().is_none() {
            return;
        }
        self.sights.see(Sight::Crash);
        self.trial.settled_at = self.trial.settled_at.max(self.time);
        it.kill_after = None;
        it.paused_until = 0;
        let mut is_torn = false;
        if is_power_cut {
            is_torn = it.disk.power_cut();
        } else {
            it.disk.process_died();
        }
        if is_torn {
            self.sights.see(Sight::TornWrite);
        }
        let how = if is_power_cut { "loses power" } else { "dies" };
        self.story
            .tell(self.time, format_args!("n{node} {how}{}", if is_torn { ", writes torn" } else { "" }));
        let down_ns = std::mem::take(&mut self.nodes[node].down_for_ns);
        self.start_later(node, down_ns.max(RESTART_NS));
        self.detach_all(node);
    }
}
