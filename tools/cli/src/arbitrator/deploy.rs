//! `io_oi arbitrator deploy`, `activate`, `rollback`, `remove`: which judge decides below a prefix.
//!
//! A component goes into the log of every shard in parts, each under a number of its own; then one more decision names it
//! for a prefix, and every node asks it from that record on. What was begun and broken off goes on where it ended.
//!
//! Invariant: a component is deployed only after it was admitted here, by the versions that the node has too.

use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_arbitrator::limits::SEALED_COMPONENT_BYTES_MAX;
use io_oi_arbitrator::{Arbitrator, Engine, GeneralJudge, VERSIONS, World};
use io_oi_record::governance::{ArbitratorChoice, Change};
use io_oi_record::hash::Domain;
use io_oi_record::limits::{COMPONENT_BYTES_MAX, PART_BYTES_MAX, PREFIX_BYTES_MAX};
use io_oi_record::{ComponentPart, Hash, JudgeVersions};
use serde_json::{Map, json};

use super::admitted::refused;
use super::standing::{Arbitrators, Component};
use super::{object, read};
use crate::args::arbitrator::{Below, Deploy, Rollback, Tier};
use crate::args::cluster::Operator;
use crate::bytes::escaped;
use crate::failure::Failure;
use crate::governance::{decide, decide_with, level, say};
use crate::output::Output;
use crate::view::{View, short};

/// Stores the component, and names it for the prefix.
pub(super) fn deploy(output: Output, socket: &Path, deploy: &Deploy) -> Result<(), Failure> {
    let bytes = read(&deploy.file)?;
    let view = View::at(socket);
    let prefix = prefix(&deploy.below)?;
    let name = check(&bytes, deploy.tier)?;
    let component = Domain::Arbitrator.hash(&bytes);
    let parts = ship(&view, &deploy.below.operator, component, &bytes)?;
    wait_for_admission(&view, component, deploy.below.operator.timeout)?;
    let choice = choice(&prefix, component, deploy.shadow);
    let decided = decide(&view, &deploy.below.operator, &Change::SetArbitrator(choice))?;
    let does = if deploy.shadow { "is heard beside the judge" } else { "judges" };
    let what = format!("{name} {does} below `{}` from now on", escaped(&prefix));
    say(output, &what, &decided, more(component, parts))
}

/// Makes the shadow of a prefix its judge.
pub(super) fn activate(output: Output, socket: &Path, below: &Below) -> Result<(), Failure> {
    let view = View::at(socket);
    let prefix = prefix(below)?;
    let standing = Arbitrators::of(&view)?;
    let shadow = standing.seat(&prefix)?.and_then(|seat| seat.shadow.clone());
    let Some(shadow) = shadow else {
        return Err(Failure::NotFound {
            what: format!("shadow below `{}`", escaped(&prefix)),
            help: "deploy one with --shadow; `io_oi arbitrator list` shows what stands",
        });
    };
    let component = hash(&shadow)?;
    let decided = decide(&view, &below.operator, &Change::SetArbitrator(choice(&prefix, component, false)))?;
    let what = format!("{} judges below `{}` from now on", short(&shadow), escaped(&prefix));
    say(output, &what, &decided, more(component, 0))
}

/// Names the judge before this one, or a named one, which every node still holds.
pub(super) fn rollback(output: Output, socket: &Path, rollback: &Rollback) -> Result<(), Failure> {
    let view = View::at(socket);
    let prefix = prefix(&rollback.below)?;
    let standing = Arbitrators::of(&view)?;
    let component = match &rollback.to {
        Some(beginning) => hash(&standing.find(beginning)?.component)?,
        None => match standing.before(&prefix)? {
            Some(before) => hash(&before)?,
            None => {
                return Err(Failure::NotFound {
                    what: format!("earlier judge below `{}`", escaped(&prefix)),
                    help: "`io_oi arbitrator remove` leaves the prefix without one",
                });
            }
        },
    };
    let change = Change::SetArbitrator(choice(&prefix, component, false));
    let decided = decide(&view, &rollback.below.operator, &change)?;
    let what = format!("{} judges below `{}` again", short(&component.to_string()), escaped(&prefix));
    say(output, &what, &decided, more(component, 0))
}

/// Leaves a prefix without a judge and without a shadow.
pub(super) fn remove(output: Output, socket: &Path, below: &Below) -> Result<(), Failure> {
    let view = View::at(socket);
    let prefix = prefix(below)?;
    let standing = Arbitrators::of(&view)?;
    let Some(seat) = standing.seat(&prefix)? else {
        return Err(Failure::NotFound {
            what: format!("judge below `{}`", escaped(&prefix)),
            help: "`io_oi arbitrator list` shows what stands",
        });
    };
    let mut decided = None;
    for (is_there, is_shadow) in [(seat.shadow.is_some(), true), (seat.component.is_some(), false)] {
        if is_there {
            let change = Change::SetArbitrator(choice(&prefix, Hash([0; 32]), is_shadow));
            decided = Some(decide(&view, &below.operator, &change)?);
        }
    }
    let decided = decided.ok_or_else(|| Failure::other("the prefix has a seat that nobody sits on"))?;
    say(output, &format!("nobody judges below `{}` any more", escaped(&prefix)), &decided, Map::new())
}

/// Admitted here to the tier that is wished, in a world that a node asks; answers its name.
fn check(bytes: &[u8], wish: Tier) -> Result<String, Failure> {
    let not_taken = |text: String, help: &str| Failure::Refused {
        name: "component".to_owned(),
        text,
        help: Some(help.to_owned()),
    };
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(not_taken(
            format!("it has {} bytes, and the log carries components of {COMPONENT_BYTES_MAX}", bytes.len()),
            "strip it; a language runtime judges offline only (`io_oi arbitrator test --tier general`)",
        ));
    }
    let engine = Engine::new();
    let arbitrator = match (Arbitrator::admit(&engine, bytes), wish) {
        (Ok(arbitrator), _) => arbitrator,
        (Err(refusal), Tier::Sealed) => return Err(refused(&refusal)),
        (Err(_), Tier::General) => return general(&engine, bytes),
    };
    if arbitrator.world() == World::Batch {
        return Err(not_taken(
            "a node asks a judge proposal by proposal, and this component judges batches".to_owned(),
            "build it for the world `arbitrator` or `planning-arbitrator`",
        ));
    }
    Ok(arbitrator.manifest().name.clone())
}

/// What cannot be sealed, as a node admits it.
fn general(engine: &Engine, bytes: &[u8]) -> Result<String, Failure> {
    let judge = GeneralJudge::admit(engine, bytes).and_then(|judge| judge.check_seatable().map(|()| judge));
    Ok(judge.map_err(|refusal| refused(&refusal))?.manifest().name.clone())
}

/// Brings the parts that the cluster lacks into its logs; answers how many.
fn ship(view: &View, operator: &Operator, component: Hash, bytes: &[u8]) -> Result<u64, Failure> {
    let name = component.to_string();
    let stored = |view: &View| -> Result<Stored, Failure> {
        let standing = Arbitrators::of(view)?;
        Ok(standing.component(&name)?.map_or(Stored::Bytes(0), |found| Stored::of(&found)))
    };
    // A part that only some shards have is the next of none.
    level(view, operator)?;
    let (mut parts, mut begin) = (0, stored(view)?);
    while let Stored::Bytes(at) = begin {
        let rest = bytes.get(at..).unwrap_or(&[]);
        let part = &rest[..rest.len().min(PART_BYTES_MAX)];
        if part.is_empty() {
            return Err(Failure::with_help(
                format!("the cluster holds {at} bytes that are no beginning of this component"),
                "ask another node, and tell who maintains this one",
            ));
        }
        let change = Change::StorePart(ComponentPart::of(component, part));
        decide_with(view, operator, &change, part)?;
        parts += 1;
        begin = stored(view)?;
    }
    Ok(parts)
}

/// How much of a component every shard holds.
enum Stored {
    Bytes(usize),
    All,
}

impl Stored {
    fn of(component: &Component) -> Self {
        if component.is_complete { Stored::All } else { Stored::Bytes(component.bytes) }
    }
}

/// Waits until the node that was asked has compiled it. The leader's own word is what the decision needs; it says so.
fn wait_for_admission(view: &View, component: Hash, patience: Duration) -> Result<(), Failure> {
    let (end, name) = (Instant::now() + patience, component.to_string());
    loop {
        let standing = Arbitrators::of(view)?;
        match standing.component(&name)? {
            Some(found) if found.admission == "admitted" => return Ok(()),
            Some(Component { admission, reason, .. }) if admission == "refused" => {
                return Err(Failure::Refused {
                    name: "component".to_owned(),
                    text: format!("the node refuses it: {}", reason.unwrap_or_default()),
                    help: Some("use an `io_oi` of the same release as the node".to_owned()),
                });
            }
            _ if Instant::now() >= end => {
                return Err(Failure::OutcomeOpen { what: "the node is still admitting it".to_owned() });
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
}

fn choice(prefix: &[u8], arbitrator: Hash, is_shadow: bool) -> ArbitratorChoice {
    let versions = if arbitrator.is_zero() { JudgeVersions::default() } else { VERSIONS };
    ArbitratorChoice { prefix: prefix.to_vec(), arbitrator, is_shadow, versions }
}

fn prefix(below: &Below) -> Result<Vec<u8>, Failure> {
    let prefix = below.bytes()?;
    if prefix.len() > PREFIX_BYTES_MAX {
        let what = format!("the prefix has {} bytes, at most {PREFIX_BYTES_MAX} are possible", prefix.len());
        return Err(Failure::Usage { what });
    }
    Ok(prefix)
}

fn hash(text: &str) -> Result<Hash, Failure> {
    text.parse().map_err(Failure::other)
}

fn more(component: Hash, parts: u64) -> Map<String, serde_json::Value> {
    object(json!({"component": component.to_string(), "parts_stored": parts}))
}

const PAUSE: Duration = Duration::from_millis(20);
const _: () = assert!(SEALED_COMPONENT_BYTES_MAX == COMPONENT_BYTES_MAX, "what is admitted can be stored");
