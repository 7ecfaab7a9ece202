//! How fast two headers of one leader convict it: on every honest node within one round trip of the second one's arrival.
//!
//! Invariant: only a world in which nothing goes wrong meanwhile is held to that: no cut, lost or held-back message, nobody
//! down or standing still, no wall clock set. [P-108]

use std::collections::BTreeMap;

use super::{What, World};
use crate::checkers::{Said, Signing};
use crate::scenario::Fault;
use crate::sights::Sight;

/// The lie, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Trial {
    /// When the liar lied last.
    pub(super) lied_at: u64,
    /// From when on nothing has gone wrong, as far as is known.
    pub(super) settled_at: u64,
    /// What each node has heard the liar sign, in each of its boots, once its block was there.
    heard: BTreeMap<(usize, u32), Signing>,
    /// When the second of two headers had reached somebody honest, and the lie had been told when.
    second_at: Option<(u64, u64)>,
    /// The last sequence of the newest header that the liar has shown to anybody.
    newest: u64,
    is_over: bool,
}

/// Messages that a storm has held up are still on their way for so long.
const STORM_ENDS_NS: u64 = 400_000_000;
/// A header further behind the newest may be forgotten: a node remembers 64 of each key.
const REMEMBERED: u64 = 32;

impl World {
    /// Something goes wrong, for so long.
    pub(super) fn disturb(&mut self, fault: &Fault) {
        let until = match *fault {
            Fault::Pause { ns, .. } | Fault::Cut { ns, .. } | Fault::Clog { ns, .. } => self.time + ns,
            Fault::Storm { ns } => self.time + ns + STORM_ENDS_NS,
            // Who takes its leader's clock for wrong follows it late.
            Fault::Jump { .. } => u64::MAX,
            _ => self.time,
        };
        self.trial.settled_at = self.trial.settled_at.max(until);
    }

    /// An honest node hears the liar's signature under a header: perhaps somebody has heard the contrary.
    pub(super) fn weigh(&mut self, to: usize, said: &Said) {
        let Said::Sealed { last, .. } = said else { return };
        self.trial.newest = self.trial.newest.max(last.0);
        let at = (to, self.nodes[to].boot);
        let _ = self.trial.heard.entry(at).or_default().check(to, said); // The first one stays.
        let is_remembered = last.0 + REMEMBERED > self.trial.newest;
        if self.trial.second_at.is_some() || !is_remembered || !self.standing(to).is_expected {
            return;
        }
        let knows_contrary = |node: usize| {
            let heard = self.trial.heard.get(&(node, self.nodes[node].boot));
            self.standing(node).is_expected && heard.is_some_and(|heard| heard.contradicts(said))
        };
        let meets = (0..self.nodes.len()).any(knows_contrary);
        if let (true, Some(delay_ns)) = (meets, self.network.delay_ns_max()) {
            self.trial.second_at = Some((self.time, self.trial.lied_at));
            self.at(self.time + 2 * delay_ns, What::Trial);
        }
    }

    /// A round trip after the second header's arrival.
    pub(super) fn judge_trial(&mut self) {
        let Some((second_at, lied_at)) = self.trial.second_at.filter(|_| !self.trial.is_over) else { return };
        let Some(liar) = self.liar.as_ref().map(|liar| liar.node) else { return };
        let is_awake = |it: &crate::node::Node| it.is_up() && it.paused_until <= lied_at;
        let are_awake = self.nodes.iter().filter(|it| it.is_in_use).all(is_awake);
        let is_undisturbed = self.trial.settled_at < lied_at && self.network.delay_ns_max().is_some();
        if !are_awake || !is_undisturbed {
            self.trial.second_at = None;
            return;
        }
        self.trial.is_over = true;
        let accused = self.nodes[liar].identity.node;
        let bars = |node: &usize| {
            self.nodes[*node].process.as_ref().is_some_and(|process| process.machine.is_barred(accused))
        };
        let honest = (0..self.nodes.len()).filter(|node| self.standing(*node).is_expected);
        match honest.into_iter().find(|node| !bars(node)) {
            Some(node) => self.witness.convicted_late(self.time, node, liar, self.time - second_at),
            None => self.sights.see(Sight::ConvictedInTime),
        }
    }
}
