//! An operator's hand: components stored part by part, prefixes seated, answers read.
//!
//! Invariant: a decision that may be taken in a moment is brought again; any other refusal is handed back.

use std::time::Instant;

use io_oi_guests::prebuilt;
use io_oi_record::attach::{Inquiry, Submission};
use io_oi_record::governance::Change;
use io_oi_record::hash::Domain;
use io_oi_record::limits::PART_BYTES_MAX;
use io_oi_record::{ComponentPart, Hash, Outcome, Receipt, RefusalCode, ShardId};
use serde_json::Value;

use crate::cluster::Cluster;
pub(crate) use crate::cluster::shipping::seat;
use crate::support::soon;

/// The name of a standard judge's component.
pub(crate) fn component(name: &str) -> Hash {
    Domain::Arbitrator.hash(bytes_of(name))
}

fn bytes_of(name: &str) -> &'static [u8] {
    prebuilt::component(name).expect("a standard judge")
}

impl Cluster {
    /// Brings a decision with what travels with it to the leader, until it is taken or refused for good.
    pub(crate) fn decide(&self, change: &Change, payload: &[u8]) -> Receipt {
        let deadline = soon();
        loop {
            let receipt = self.try_decide(change, payload);
            let may_pass = receipt.is_none_or(|receipt| {
                matches!(
                    receipt.outcome,
                    Outcome::Refused(
                        RefusalCode::GovernancePending
                            | RefusalCode::GovernanceNumber
                            | RefusalCode::NotLeader
                            | RefusalCode::LeaderUnknown
                            | RefusalCode::ArbitratorNotAdmitted
                    )
                )
            });
            match receipt {
                Some(receipt) if !may_pass || Instant::now() > deadline => return receipt,
                _ => assert!(Instant::now() <= deadline, "nobody answers"),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn try_decide(&self, change: &Change, payload: &[u8]) -> Option<Receipt> {
        let leader = self.leader(0)?;
        let number = self.status(leader, 0)?.governance + 1;
        let signed = self.signed_shipment(number, change.clone(), payload);
        let answer = self.ask(leader, Inquiry::Govern(Submission { shard: ShardId(0), signed }))?;
        Some(Receipt::decode(&answer).expect("a receipt"))
    }

    /// Stores a standard judge's component.
    pub(crate) fn store(&self, name: &str) -> Hash {
        self.store_bytes(bytes_of(name))
    }

    /// Stores a component of any making.
    pub(crate) fn store_bytes(&self, bytes: &[u8]) -> Hash {
        let component = Domain::Arbitrator.hash(bytes);
        for part in bytes.chunks(PART_BYTES_MAX) {
            let receipt = self.decide(&Change::StorePart(ComponentPart::of(component, part)), part);
            assert!(receipt.is_accepted(), "{receipt:?}");
        }
        component
    }

    /// Waits until every node can run a component: whoever runs beside a judge is left out until then.
    pub(crate) fn wait_until_admitted(&self, component: Hash) {
        for place in self.awake() {
            self.wait_for("the component to be admitted", |cluster| {
                cluster.component_at(place, component).filter(|known| known["admission"] == "admitted")
            });
        }
    }

    /// Stores a standard judge and seats it below a prefix.
    pub(crate) fn deploy(&self, name: &str, prefix: &[u8]) -> Receipt {
        let component = self.store(name);
        let receipt = self.decide(&seat(prefix, component, false), &[]);
        assert!(receipt.is_accepted(), "{receipt:?}");
        receipt
    }

    /// What a node says of its arbitrators in shard 0.
    pub(crate) fn arbitrators(&self, place: usize) -> Option<Value> {
        Some(self.ask_json(place, Inquiry::Arbitrators)?["shards"][0].clone())
    }

    /// What a node says of one component.
    pub(crate) fn component_at(&self, place: usize, component: Hash) -> Option<Value> {
        let all = self.arbitrators(place)?;
        let mut components = all["components"].as_array().expect("a list").iter();
        components.find(|known| known["component"] == component.to_string()).cloned()
    }
}
