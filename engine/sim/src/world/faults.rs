//! Faults, as they happen and as they end.
//!
//! Invariant: every fault but a rolled-back disk is over when the calm begins.

use io_oi_record::Sequence;
use io_oi_record::governance::Change;

use super::{After, What, World};
use crate::scenario::{Cut, Fault, Who};
use crate::sights::Sight;

impl World {
    fn whom(&self, who: Who) -> usize {
        match who {
            Who::Node(node) => node,
            Who::Leader => self.leader().unwrap_or(0),
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.story.tell(self.time, format_args!("FAULT {fault:?}"));
        self.disturb(&fault);
        match fault {
            Fault::Kill { who, down_ns, is_power_cut } => {
                let node = self.whom(who);
                self.nodes[node].down_for_ns = down_ns;
                self.kill(node, is_power_cut);
            }
            Fault::KillBetween { who, steps, down_ns, .. } => {
                let node = self.whom(who);
                self.nodes[node].down_for_ns = down_ns;
                self.nodes[node].kill_after = Some(steps);
            }
            Fault::Blackout { down_ns } => {
                for node in 0..self.nodes.len() {
                    self.nodes[node].down_for_ns = self.random.between(0, down_ns);
                    self.kill(node, true);
                }
            }
            Fault::Pause { who, ns } => {
                let node = self.whom(who);
                self.sights.see(Sight::Pause);
                self.nodes[node].paused_until = (self.time + ns).min(self.scenario.calm_at);
            }
            Fault::Cut { cut, ns } => {
                self.cut(cut);
                self.follow_later(ns, After::Links);
            }
            Fault::Clog { who, ns } => {
                let node = self.whom(who);
                let until = (self.time + ns).min(self.scenario.calm_at);
                for other in 0..self.nodes.len() {
                    self.network.clog(node, other, until);
                    if self.random.chance(500) {
                        self.network.clog(other, node, until);
                    }
                }
            }
            Fault::Storm { ns } => {
                self.network.set_weather(self.scenario.storm);
                self.follow_later(ns, After::Weather);
            }
            Fault::Jump { who, by_ns } => {
                let node = self.whom(who);
                self.sights.see(Sight::ClockJump);
                self.nodes[node].clock.jump(by_ns);
            }
            Fault::Appoint { who } => {
                let node = self.whom(who);
                self.appoint(node);
            }
            Fault::Join { promote_after_ns } => self.join(promote_after_ns),
            Fault::Seat { is_seated } => self.seat(is_seated),
            Fault::Write { first } => self.write_some(first),
            Fault::Remove { who } => {
                let node = self.whom(who);
                self.wish(Change::Remove(self.nodes[node].identity.node));
            }
            disk => self.disk_fault(disk),
        }
    }

    /// A box that was not used yet joins as a learner.
    fn join(&mut self, promote_after_ns: u64) {
        let Some(node) = (0..self.nodes.len()).find(|node| !self.nodes[*node].is_in_use) else { return };
        self.wish(Change::AddLearner(self.cluster.member(node)));
        self.follow_later(promote_after_ns, After::Promote { node });
    }

    fn disk_fault(&mut self, fault: Fault) {
        match fault {
            Fault::SlowDisk { who, factor, ns } => {
                let node = self.whom(who);
                self.nodes[node].flush_factor = factor;
                self.follow_later(ns, After::Disk { node });
            }
            Fault::FullDisk { who, ns } => {
                let node = self.whom(who);
                self.sights.see(Sight::DiskFull);
                self.nodes[node].disk.fill();
                self.follow_later(ns, After::Disk { node });
            }
            Fault::FailFlush { who, down_ns } => {
                let node = self.whom(who);
                self.sights.see(Sight::FlushFailed);
                self.nodes[node].down_for_ns = down_ns;
                self.nodes[node].disk.fail_next_flush();
            }
            Fault::Backup { who } => {
                let node = self.whom(who);
                let it = &mut self.nodes[node];
                if it.is_in_use {
                    // What the log may name is not missing from its copy.
                    let shown = it.process.as_ref().map(|process| process.machine.promised());
                    it.backup = Some((it.disk.image(), it.promised.max(shown.unwrap_or_default())));
                }
            }
            Fault::Rot { who, down_ns } => {
                let node = self.whom(who);
                // Data that one disk alone held is gone with it: rot strikes where others have everything, too, and where the
                // genesis names them. A node that was founded alone asks its operator, since it may know nobody any more.
                let are_sound = self.are_whole() && !self.nodes.iter().any(|it| it.is_rolled_back);
                let has_others = self.witness.voters.count_ones() >= 3 && self.scenario.founders > 1;
                let has_others = has_others && !self.may_lose_a_member();
                if self.nodes[node].is_up() && has_others && are_sound {
                    self.nodes[node].down_for_ns = down_ns;
                    self.kill(node, false);
                    let has_rotted = self.nodes[node].disk.rot();
                    self.nodes[node].has_rotted |= has_rotted;
                }
            }
            Fault::RollBack { who, down_ns } => self.roll_back(who, down_ns),
            _ => {}
        }
    }

    /// Whether nobody lacks what its disk has lost.
    pub(super) fn are_whole(&self) -> bool {
        self.nodes.iter().all(crate::node::Node::is_whole)
    }

    /// An old copy of the log is put back. The promise file stands in a second place and tells that something is missing,
    /// if anything was promised since; a copy that lacks less than that is not put back here, because nothing on this box
    /// could tell.
    fn roll_back(&mut self, who: Who, down_ns: u64) {
        let node = self.whom(who);
        let promised = self.nodes[node].promised;
        let is_old = |backup: &(_, _)| backup.1 < promised;
        let Some((image, _)) = self.nodes[node].backup.take_if(|backup| is_old(backup)) else { return };
        let others =
            (0..self.nodes.len()).filter(|other| *other != node && self.nodes[*other].is_rolled_back);
        // Too many silent voters and nobody could ever commit again.
        // A copy that is damaged itself is repaired: what it lacks beside is among what a repair makes up for.
        let is_telling = !self.nodes[node].has_rotted && self.are_whole() && !self.may_lose_a_member();
        if !is_telling || 2 * (others.count() + 1) >= self.witness.voters.count_ones() as usize {
            return;
        }
        self.nodes[node].down_for_ns = down_ns;
        self.kill(node, false);
        self.nodes[node].disk.restore(image);
        self.nodes[node].is_rolled_back = true;
        self.witness.disk_lost(node, Sequence(u64::MAX)); // It is silent for good.
    }

    fn cut(&mut self, cut: Cut) {
        self.sights.see(Sight::Partition);
        let count = self.nodes.len();
        let is_cut: Box<dyn Fn(usize, usize) -> bool> = match cut {
            Cut::Halves(some) => Box::new(move |from, to| some >> from & 1 != some >> to & 1),
            Cut::Mouths(some) => Box::new(move |from, to| some >> from & 1 == 1 && some >> to & 1 == 0),
            Cut::Ears(some) => Box::new(move |from, to| some >> from & 1 == 0 && some >> to & 1 == 1),
            Cut::Bridge(bridge) => Box::new(move |from, to| {
                let side = |node| usize::from(node >= count / 2);
                from != bridge && to != bridge && side(from) != side(to)
            }),
            Cut::Ring => Box::new(move |from, to| (from + 1) % count != to && (to + 1) % count != from),
            Cut::Alone(who) => {
                let alone = self.whom(who);
                if self.leader() == Some(alone) {
                    self.sights.see(Sight::LeaderAlone);
                }
                Box::new(move |from, to| from == alone || to == alone)
            }
        };
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                if is_cut(from, to) {
                    self.network.cut(from, to, true);
                }
            }
        }
    }

    fn follow_later(&mut self, ns: u64, after: After) {
        let at = (self.time + ns).min(self.scenario.calm_at);
        self.at(at, What::Follow { after });
    }

    pub(super) fn follow(&mut self, after: After) {
        self.story.tell(self.time, format_args!("over: {after:?}"));
        match after {
            After::Links => self.network.heal(),
            After::Weather => self.network.set_weather(self.scenario.weather),
            After::Disk { node } => self.mend_disk(node),
            After::Promote { node } => self.wish(Change::Promote(self.nodes[node].identity.node)),
        }
    }

    fn mend_disk(&mut self, node: usize) {
        self.nodes[node].flush_factor = 1;
        self.nodes[node].disk.mend();
    }

    /// Nothing goes wrong with this node any more.
    pub(super) fn mend(&mut self, node: usize) {
        self.mend_disk(node);
        let it = &mut self.nodes[node];
        it.kill_after = None;
        it.down_for_ns = 0;
        it.paused_until = it.paused_until.min(self.time);
        it.clock.mend();
        if it.is_in_use && !it.is_up() {
            it.down_until = self.time;
            self.at(self.time, What::Start { node });
        }
    }
}
