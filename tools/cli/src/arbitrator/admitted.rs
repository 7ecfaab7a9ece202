//! A component before the two tiers, and the one that is asked.
//!
//! Invariant: a component that no tier admits is never asked, and each refusal is said in the host's own words.

use io_oi_arbitrator::sdk::Context;
use io_oi_arbitrator::{Answer, Arbitrator, Engine, Fault, GeneralJudge, Judge, Refusal, World};
use io_oi_record::hash::Domain;
use serde_json::{Map, Value, json};

use super::{manifest, object, world};
use crate::args::arbitrator::{Admission, Tier};
use crate::failure::Failure;
use crate::output::{Output, table};

/// What both tiers say of a component.
pub(super) struct Examined {
    hash: String,
    bytes: usize,
    manifest: Option<Value>,
    world: Option<&'static str>,
    sealed: Option<Refusal>,
    general: Option<Refusal>,
}

impl Examined {
    /// Asks both tiers to admit it. Compiles it twice.
    pub(super) fn of(component: &[u8], component_bytes_max: u64) -> Self {
        let engine = Engine::new();
        let sealed = Arbitrator::admit(&engine, component);
        let general = GeneralJudge::admit_within(&engine, component, component_bytes_max as usize);
        let facts = match (&sealed, &general) {
            (Ok(sealed), _) => Some((sealed.manifest(), sealed.world())),
            (_, Ok(general)) => Some((general.manifest(), World::Single)),
            _ => None,
        };
        Self {
            hash: Domain::Arbitrator.hash(component).to_string(),
            bytes: component.len(),
            manifest: facts.map(|(said, _)| manifest(said)),
            world: facts.map(|(_, of)| world(of)),
            sealed: sealed.err(),
            general: general.err(),
        }
    }

    /// The name in its manifest.
    pub(super) fn name(&self) -> Option<&str> {
        self.manifest.as_ref()?["name"].as_str()
    }

    /// Prints it; a component that the wished tier does not admit, or no tier when none is wished, is a refusal.
    pub(super) fn say(
        &self,
        output: Output,
        first: Map<String, Value>,
        wish: Option<Tier>,
    ) -> Result<(), Failure> {
        let tier = |refusal: &Option<Refusal>| match refusal {
            None => json!({"admitted": true}),
            Some(refusal) => json!({"admitted": false, "reason": refusal.to_string()}),
        };
        let mut fields = first;
        fields.extend(object(json!({"hash": self.hash, "bytes": self.bytes, "world": self.world,
            "manifest": self.manifest, "sealed": tier(&self.sealed), "general": tier(&self.general)})));
        let rows = self.rows(&fields);
        output.result(fields, || table(&rows))?;
        match (wish, &self.sealed, &self.general) {
            (Some(Tier::Sealed), Some(refusal), _)
            | (Some(Tier::General), _, Some(refusal))
            | (None, Some(_), Some(refusal)) => Err(refused(refusal)),
            _ => Ok(()),
        }
    }

    fn rows(&self, fields: &Map<String, Value>) -> Vec<Vec<String>> {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let tier = |refusal: &Option<Refusal>| {
            refusal.as_ref().map_or("admitted".to_owned(), |refusal| format!("refused: {refusal}"))
        };
        let mut rows: Vec<Vec<String>> = fields
            .get("file")
            .and_then(Value::as_str)
            .map(|file| row("file", file.to_owned()))
            .into_iter()
            .collect();
        rows.push(row("hash", self.hash.clone()));
        rows.push(row("bytes", self.bytes.to_string()));
        if let (Some(Value::Object(said)), Some(world)) = (&self.manifest, self.world) {
            rows.push(row("world", world.to_owned()));
            let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.extend(said.iter().map(|(name, value)| row(name, plain(value))));
        }
        rows.push(row("sealed tier", tier(&self.sealed)));
        rows.push(row("general tier", tier(&self.general)));
        rows
    }
}

/// A tier does not take it.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    Failure::Refused {
        name: "component".to_owned(),
        text: refusal.to_string(),
        help: Some("arbitrator/wit/README.md says what a judge may be made of".to_owned()),
    }
}

/// A component that may be asked.
pub(super) enum Bench {
    /// In the sealed tier.
    Sealed(Box<Judge>, World),
    /// In the general tier.
    General(Box<GeneralJudge>),
}

/// One answer, as it is compared and printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) answer: Answer,
    pub(super) effects: Vec<u8>,
}

impl Bench {
    /// Admits it to the tier that is wished.
    pub(super) fn admit(component: &[u8], wish: Admission) -> Result<Self, Failure> {
        let engine = Engine::new();
        match wish.tier {
            Tier::Sealed => {
                let arbitrator =
                    Arbitrator::admit(&engine, component).map_err(|refusal| refused(&refusal))?;
                Ok(Bench::Sealed(Box::new(arbitrator.judge()), arbitrator.world()))
            }
            Tier::General => {
                let judge = GeneralJudge::admit_within(&engine, component, wish.component_bytes_max as usize);
                Ok(Bench::General(Box::new(judge.map_err(|refusal| refused(&refusal))?)))
            }
        }
    }

    /// Which world of the contract it has.
    pub(super) fn world(&self) -> World {
        match self {
            Bench::Sealed(_, world) => *world,
            Bench::General(_) => World::Single,
        }
    }

    /// What it says of itself.
    pub(super) fn manifest(&self) -> &io_oi_arbitrator::Manifest {
        match self {
            Bench::Sealed(judge, _) => judge.manifest(),
            Bench::General(judge) => judge.manifest(),
        }
    }

    /// The keys that it wants to see for this proposal.
    pub(super) fn plan(&mut self, proposal: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        match self {
            Bench::Sealed(judge, World::Planning) => Ok(judge.plan(proposal)?.map(<[u8]>::to_vec).collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Decides, a batch for the batch world, else the one proposal that there is.
    pub(super) fn decide(
        &mut self,
        context: &Context,
        state: &[u8],
        proposals: &[&[u8]],
    ) -> (Vec<Said>, u64) {
        let said = |answer, effects: &[u8]| Said { answer, effects: effects.to_vec() };
        match self {
            Bench::Sealed(judge, World::Batch) => {
                let ruling = judge.decide_batch(context, state, proposals);
                (ruling.iter().map(|(answer, effects)| said(answer, effects)).collect(), ruling.fuel)
            }
            Bench::Sealed(judge, _) => {
                let ruling = judge.decide(context, state, proposals[0]);
                (vec![said(ruling.answer, ruling.effects)], ruling.fuel)
            }
            Bench::General(judge) => {
                let ruling = judge.decide(context, state, proposals[0]);
                (vec![said(ruling.answer, ruling.effects)], ruling.fuel)
            }
        }
    }

    /// Decides and drops the answer: what a node's shard does, without the copies that a table needs.
    pub(super) fn ask(&mut self, context: &Context, state: &[u8], proposals: &[&[u8]]) {
        match self {
            Bench::Sealed(judge, World::Batch) => {
                std::hint::black_box(judge.decide_batch(context, state, proposals));
            }
            Bench::Sealed(judge, _) => {
                std::hint::black_box(judge.decide(context, state, proposals[0]));
            }
            Bench::General(judge) => {
                std::hint::black_box(judge.decide(context, state, proposals[0]));
            }
        }
    }
}

/// As in tables of cases: `accept`, `refuse 16`, `defer`, `fault fuel`.
pub(super) fn word(answer: Answer) -> String {
    match answer {
        Answer::Accept => "accept".to_owned(),
        Answer::Refuse(code) => format!("refuse {}", code.get()),
        Answer::Defer => "defer".to_owned(),
        Answer::Fault(fault) => format!("fault {fault}"),
    }
}
