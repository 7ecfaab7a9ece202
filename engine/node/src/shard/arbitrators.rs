//! What a shard says of its arbitrators: who is seated where, what is stored, and how each fares here.
//!
//! Invariant: seats and history are the log's and the same on every node; admissions and counters are this node's own.

use io_oi_arbitrator::{Fault, Manifest, World};
use io_oi_record::{Hash, JudgeVersions, Sequence};
use io_oi_shard::Admission;
use serde_json::{Map, Value, json};

use super::Shard;
use super::judges::{Known, Sayings};

impl Shard {
    /// The answer to an operator who asks for the arbitrators.
    #[cold]
    pub(super) fn arbitrators(&self) -> Value {
        let roster = self.machine.judged_roster();
        let seats = roster.arbitrators().iter().map(|seat| {
            let since = |component: Hash, is_shadow: bool| {
                let mut choices = self.machine.arbitrator_choices().iter().rev();
                let is_it = |(_, choice): &&(Sequence, io_oi_record::governance::ArbitratorChoice)| {
                    choice.prefix == seat.prefix
                        && choice.is_shadow == is_shadow
                        && choice.arbitrator == component
                };
                choices.find(is_it).map(|(at, _)| at.get())
            };
            json!({
                "prefix": seat.prefix.escape_ascii().to_string(),
                "prefix_hex": hex(&seat.prefix),
                "component": text(seat.arbitrator),
                "versions": versions(seat.versions),
                "since": since(seat.arbitrator, false),
                "shadow": text(seat.shadow),
                "shadow_since": since(seat.shadow, true),
            })
        });
        let history = self.machine.arbitrator_choices().iter().map(|(at, choice)| {
            json!({
                "sequence": at.get(),
                "is_committed": *at <= self.machine.committed(),
                "prefix": choice.prefix.escape_ascii().to_string(),
                "prefix_hex": hex(&choice.prefix),
                "component": text(choice.arbitrator),
                "is_shadow": choice.is_shadow,
                "versions": versions(choice.versions),
            })
        });
        json!({
            "shard": self.world.shard.get(),
            "governance": roster.number(),
            "seats": seats.collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(),
            "components": roster.components().iter().map(|hash| self.component(*hash)).collect::<Vec<_>>(),
            "records_withheld": self.machine.counters().records_withheld,
        })
    }

    fn component(&self, component: Hash) -> Value {
        let (bytes, is_complete) = self.machine.component_stored(component);
        let admission = match self.machine.admission(component) {
            None => "incomplete",
            Some(Admission::Pending) => "pending",
            Some(Admission::Admitted) => "admitted",
            Some(Admission::Refused) => "refused",
        };
        let mut whole = Map::new();
        whole.insert("component".to_owned(), json!(component.to_string()));
        whole.insert("bytes".to_owned(), json!(bytes));
        whole.insert("is_complete".to_owned(), json!(is_complete));
        whole.insert("is_used".to_owned(), json!(self.machine.judged_roster().uses(component)));
        whole.insert("admission".to_owned(), json!(admission));
        let known = self.world.judges.all().find(|(known, _)| known.component == component);
        if let Some((known, sayings)) = known {
            whole.extend(on_this_node(known, sayings));
        }
        Value::Object(whole)
    }
}

/// What this node found out about a component, and what it has heard from it since it started.
fn on_this_node(known: &Known, sayings: &Sayings) -> Map<String, Value> {
    let Value::Object(mut fields) = (match &known.what {
        Err(reason) => json!({ "reason": reason }),
        Ok((admitted, asked)) => {
            let Manifest { name, version: (major, minor, patch), fuel, .. } = admitted.manifest();
            let faults: Map<String, Value> = Fault::ALL
                .iter()
                .map(|kind| (kind.name().to_owned(), json!(asked.faults().of(*kind))))
                .collect();
            json!({
                "name": name,
                "version": format!("{major}.{minor}.{patch}"),
                "tier": admitted.tier(),
                "world": match admitted.world() {
                    World::Single => "single",
                    World::Planning => "planning",
                    World::Batch => "batch",
                },
                "fuel_max": fuel,
                "fuel_used": asked.fuel_used(),
                "fault_kinds": faults,
            })
        }
    }) else {
        unreachable!("json! of an object is an object")
    };
    let codes: Map<String, Value> =
        sayings.refusals.rows().iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
    let counts = json!({
        "accepted": sayings.accepted,
        "accepted_with_writes": sayings.accepted_with_writes,
        "refused": sayings.refused,
        "deferred": sayings.deferred,
        "faults": sayings.faults,
        "elsewhere": sayings.elsewhere,
        "refused_by_code": codes,
        "refused_by_other_codes": sayings.refusals.others(),
        "shadow_heard": sayings.shadow_heard,
        "shadow_differences": sayings.shadow_differences,
    });
    fields.insert("heard".to_owned(), counts);
    fields
}

/// A component's name, or nothing where there is none.
fn text(component: Hash) -> Option<String> {
    (!component.is_zero()).then(|| component.to_string())
}

pub(crate) fn versions(versions: JudgeVersions) -> Value {
    json!({ "seal": versions.seal, "costs": versions.costs, "engine": versions.engine })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
