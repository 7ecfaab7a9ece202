//! `io_oi arbitrator test`: a table of questions to one component, its answers held against the table.
//!
//! Invariant: answers and fuel are the component's own and the same everywhere; times are this machine's, and decide
//! nothing.

use std::time::Instant;

use io_oi_arbitrator::World;
use io_oi_arbitrator::sdk::WriteReader;
use serde_json::{Map, Value, json};

use super::admitted::{Bench, Said, word};
use super::cases::{Case, read};
use super::replay::replay;
use super::{file, object};
use crate::args::arbitrator::Test;
use crate::bytes::{escaped_short, insert_json};
use crate::failure::Failure;
use crate::output::{Output, duration, table};

/// Runs the table.
pub(super) fn test(output: Output, arguments: &Test) -> Result<(), Failure> {
    let mut bench = Bench::admit(&super::read(&arguments.file)?, arguments.admission)?;
    if let Some(path) = &arguments.vectors {
        run(output, arguments, &mut bench, &read(path)?)?;
    }
    replay(output, arguments, &mut bench)
}

fn run(output: Output, arguments: &Test, bench: &mut Bench, cases: &[Case]) -> Result<(), Failure> {
    let outcomes: Vec<Outcome> =
        cases.iter().map(|case| Outcome::of(bench, case, arguments.runs)).collect::<Result<_, _>>()?;
    if output.is_json() {
        for outcome in &outcomes {
            output.result(outcome.object(), String::new)?;
        }
    } else {
        let mut rows = vec![["case", "answer", "fuel", "time", ""].map(str::to_owned).to_vec()];
        rows.extend(outcomes.iter().map(Outcome::row));
        output.tell(&table(&rows))?;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.wrong.is_some()).count();
    let mut summary = Map::from_iter([file(&arguments.file)]);
    summary.extend(object(json!({"cases": outcomes.len(), "failed": failed,
        "fuel_max": outcomes.iter().map(|outcome| outcome.fuel).max(),
        "ns_p50_max": outcomes.iter().map(|outcome| outcome.ns_p50).max(),
        "fuel_allowed": bench.manifest().fuel})));
    output
        .result(summary, || format!("{} of {} cases as expected", outcomes.len() - failed, outcomes.len()))?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::with_help(
            format!("{failed} of {} cases came out otherwise than the table says", outcomes.len()),
            "correct the judge, or the table where it is wrong",
        )),
    }
}

/// What became of one case.
struct Outcome {
    name: String,
    said: Vec<Said>,
    plan: Option<Vec<Vec<u8>>>,
    fuel: u64,
    ns_p50: u64,
    ns_max: u64,
    /// What is otherwise than expected.
    wrong: Option<String>,
}

impl Outcome {
    fn of(bench: &mut Bench, case: &Case, runs: u32) -> Result<Self, Failure> {
        if case.is_batch != (bench.world() == World::Batch) {
            let has = super::world(bench.world());
            let what = format!("case `{}` does not fit the world `{has}` that the component has", case.name);
            return Err(Failure::Usage { what });
        }
        let proposals: Vec<&[u8]> = case.asked.iter().map(|asked| asked.proposal.as_slice()).collect();
        let plan = bench.plan(proposals[0]);
        let (said, fuel) = bench.decide(&case.context, &case.state, &proposals);
        let wrong = wrong_plan(case, &plan).or_else(|| wrong_answer(case, &said)).or_else(|| {
            let fuel_max = case.fuel_max.filter(|fuel_max| fuel > *fuel_max)?;
            Some(format!("it used {fuel} fuel, the table allows {fuel_max}"))
        });
        let mut took: Vec<u64> = (0..runs)
            .map(|_| {
                let from = Instant::now();
                bench.ask(&case.context, &case.state, &proposals);
                from.elapsed().as_nanos() as u64
            })
            .collect();
        took.sort_unstable();
        let (ns_p50, ns_max) = (took[took.len() / 2], took[took.len() - 1]);
        Ok(Self { name: case.name.clone(), said, plan: plan.ok(), fuel, ns_p50, ns_max, wrong })
    }

    fn row(&self) -> Vec<String> {
        let answers: Vec<String> = self.said.iter().map(|said| word(said.answer)).collect();
        vec![
            escaped_short(self.name.as_bytes(), 60),
            answers.join(", "),
            self.fuel.to_string(),
            duration(self.ns_p50),
            self.wrong.as_ref().map_or("as expected".to_owned(), |wrong| format!("WRONG: {wrong}")),
        ]
    }

    fn object(&self) -> Map<String, Value> {
        let answers: Vec<Value> = self
            .said
            .iter()
            .map(|said| json!({"answer": word(said.answer), "effects": writes(&said.effects)}))
            .collect();
        let plan = self.plan.as_ref().map(|keys| {
            let key = |key: &Vec<u8>| {
                let mut object = Map::new();
                insert_json(&mut object, "key", key);
                Value::Object(object)
            };
            keys.iter().map(key).collect::<Vec<_>>()
        });
        object(json!({"case": self.name, "answers": answers, "plan": plan, "fuel": self.fuel,
            "ns_p50": self.ns_p50, "ns_max": self.ns_max, "passed": self.wrong.is_none(), "wrong": self.wrong}))
    }
}

fn wrong_plan(case: &Case, plan: &Result<Vec<Vec<u8>>, io_oi_arbitrator::Fault>) -> Option<String> {
    let wanted = case.plan.as_ref()?;
    match plan {
        Err(fault) => Some(format!("`plan` ended as a fault ({fault})")),
        Ok(found) if found != wanted => {
            let keys: Vec<String> = found.iter().map(|key| escaped_short(key, 40)).collect();
            Some(format!("it plans to read {}", keys.join(", ")))
        }
        Ok(_) => None,
    }
}

fn wrong_answer(case: &Case, said: &[Said]) -> Option<String> {
    case.asked.iter().zip(said).find_map(|(asked, said)| {
        let found = word(said.answer);
        // A kind or a code that the table leaves out may be any.
        let is_answer = found == asked.expect || found.split(' ').next() == Some(&asked.expect);
        if !is_answer {
            return Some(format!("expected {}", asked.expect));
        }
        let effects = asked.effects.as_ref().filter(|effects| **effects != said.effects)?;
        Some(format!(
            "expected the effects {}, found {}",
            Value::from(writes(effects)),
            Value::from(writes(&said.effects))
        ))
    })
}

/// Effects for programs and people; they were checked by the host, or made from a table.
fn writes(effects: &[u8]) -> Vec<Value> {
    WriteReader::new(effects)
        .map(|write| {
            let mut object = Map::new();
            insert_json(&mut object, "key", write.key);
            match write.is_delete {
                true => object.insert("removed".to_owned(), true.into()).map_or((), drop),
                false => insert_json(&mut object, "value", write.value),
            }
            Value::Object(object)
        })
        .collect()
}
