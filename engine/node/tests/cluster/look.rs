//! What the nodes of a test cluster say about themselves, and what an operator tells them.
//!
//! Invariant: a node that does not answer is no reason to fail; whoever waits for something has a guard against hangs
//! that tells what was seen last.

use std::time::{Duration, Instant};

use io_oi_record::attach::{Inquiry, Submission};
use io_oi_record::governance::Change;
use io_oi_record::{NodeId, Receipt, ShardId};
use serde_json::Value;

use super::Cluster;
use super::shipping::signed_shipment;
use crate::support::soon;

/// One shard of one node, as the node tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) role: String,
    pub(crate) epoch: u64,
    pub(crate) leader: Option<NodeId>,
    pub(crate) tip: u64,
    pub(crate) committed: u64,
    pub(crate) certified: u64,
    /// Why the node neither votes nor leads.
    pub(crate) mute: Option<String>,
    pub(crate) state_hash: (u64, String),
    pub(crate) evidence: u64,
    pub(crate) governance: u64,
}

impl Status {
    fn read(shard: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("not a number in {shard}"));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            role: text(&shard["role"]).expect("a role"),
            epoch: number(&shard["epoch"]),
            leader: text(&shard["leader"]).map(|leader| leader.parse().expect("a key")),
            tip: number(&shard["tip"]),
            committed: number(&shard["committed"]),
            certified: number(&shard["certified"]),
            mute: text(&shard["mute"]),
            state_hash: (
                number(&shard["state_hash"]["sequence"]),
                text(&shard["state_hash"]["hash"]).expect("a hash"),
            ),
            evidence: number(&shard["evidence"]),
            governance: number(&shard["governance"]),
        }
    }

    pub(crate) fn leads(&self) -> bool {
        self.role == "leading"
    }
}

impl Cluster {
    /// The bytes of one answer; `None` when the node does not answer.
    pub(crate) fn ask(&self, place: usize, inquiry: Inquiry) -> Option<Vec<u8>> {
        if !self.is_running(place) || self.is_paused(place) {
            return None;
        }
        io_oi_client::inquire(self.socket(place), &inquiry).ok()
    }

    pub(crate) fn ask_json(&self, place: usize, inquiry: Inquiry) -> Option<Value> {
        self.ask(place, inquiry).map(|bytes| serde_json::from_slice(&bytes).expect("the answer is JSON"))
    }

    /// Every shard of one node.
    pub(crate) fn statuses(&self, place: usize) -> Option<Vec<Status>> {
        let answer = self.ask_json(place, Inquiry::Status)?;
        Some(answer["shards"].as_array().expect("a list of shards").iter().map(Status::read).collect())
    }

    pub(crate) fn status(&self, place: usize, shard: u16) -> Option<Status> {
        self.statuses(place).map(|mut shards| shards.swap_remove(usize::from(shard)))
    }

    /// Who leads a shard, by its own word; of two the one with the higher epoch.
    pub(crate) fn leader(&self, shard: u16) -> Option<usize> {
        let leading =
            |place| self.status(place, shard).filter(Status::leads).map(|status| (status.epoch, place));
        self.awake().into_iter().filter_map(leading).max().map(|(_, place)| place)
    }

    pub(crate) fn wait_for_leader(&self, shard: u16) -> usize {
        self.wait_for("a leader", |cluster| cluster.leader(shard))
    }

    /// A leader of a shard that is none of these.
    pub(crate) fn wait_for_leader_other_than(&self, shard: u16, others: &[usize]) -> usize {
        let another = |cluster: &Cluster| cluster.leader(shard).filter(|leader| !others.contains(leader));
        self.wait_for("another leader", another)
    }

    /// Looks again until there is something.
    pub(crate) fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = soon();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            if Instant::now() > deadline {
                let seen: Vec<_> = self.places().map(|place| self.statuses(place)).collect();
                panic!("never came true: {what}; last seen: {seen:#?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every node that is awake has committed the same, then compares state hashes.
    pub(crate) fn wait_until_equal(&self) {
        for shard in 0..self.plan.shards {
            let seen = self.wait_for("the same committed sequence and state everywhere", |cluster| {
                let places = cluster.awake();
                let seen: Vec<Status> =
                    places.iter().filter_map(|place| cluster.status(*place, shard)).collect();
                let first = seen.first()?.clone();
                let is_level = |status: &Status| {
                    status.committed == first.tip
                        && status.tip == first.tip
                        && status.state_hash.0 == first.state_hash.0
                };
                (seen.len() == places.len() && seen.iter().all(is_level)).then_some(seen)
            });
            for status in &seen {
                assert_eq!(
                    status.state_hash, seen[0].state_hash,
                    "shard {shard}: different states at one sequence: {seen:#?}"
                );
            }
        }
    }

    /// An operator's decision, numbered, signed and encoded.
    pub(crate) fn signed_change(&self, number: u64, change: Change) -> Vec<u8> {
        self.signed_shipment(number, change, &[])
    }

    /// The same, with what travels with it.
    pub(crate) fn signed_shipment(&self, number: u64, change: Change, payload: &[u8]) -> Vec<u8> {
        signed_shipment(self.genesis.genesis.cluster(), &self.operator, number, change, payload)
    }

    /// Brings an operator's decision to one node.
    pub(crate) fn govern_at(&self, place: usize, shard: u16, number: u64, change: Change) -> Option<Receipt> {
        let signed = self.signed_change(number, change);
        let answer = self.ask(place, Inquiry::Govern(Submission { shard: ShardId(shard), signed }))?;
        Some(Receipt::decode(&answer).expect("a receipt"))
    }
}
