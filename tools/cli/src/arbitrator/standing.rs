//! `io_oi arbitrator list`, and `show` of what a node holds: judges, shadows, components, what they said.
//!
//! Invariant: what the shards disagree about is said, never averaged: a component is complete when every shard has it.

use std::collections::BTreeMap;
use std::path::Path;

use io_oi_client::Inquiry;
use serde::Deserialize;
use serde_json::Value;

use crate::bytes::hex;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::view::{View, short};

/// What a node holds, shard by shard.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Arbitrators {
    pub(super) shards: Vec<Shard>,
}

/// One shard of it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shard {
    pub(super) shard: u16,
    pub(super) seats: Vec<Seat>,
    history: Vec<Choice>,
    components: Vec<Component>,
}

/// Who judges below a prefix.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Seat {
    prefix: String,
    prefix_hex: String,
    pub(super) component: Option<String>,
    since: Option<u64>,
    pub(super) shadow: Option<String>,
}

/// Who was to judge, in the order of the log.
#[derive(Clone, Debug, Deserialize)]
struct Choice {
    prefix_hex: String,
    component: Option<String>,
    is_shadow: bool,
}

/// A component in the log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Component {
    pub(super) component: String,
    pub(super) bytes: usize,
    pub(super) is_complete: bool,
    pub(super) admission: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    tier: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    heard: Option<Heard>,
}

/// What this node heard from a component since it started.
#[derive(Clone, Debug, Default, Deserialize)]
struct Heard {
    accepted: u64,
    accepted_with_writes: u64,
    refused: u64,
    deferred: u64,
    faults: u64,
    elsewhere: u64,
    shadow_heard: u64,
    shadow_differences: u64,
    #[serde(default)]
    refused_by_code: BTreeMap<String, u64>,
}

impl Arbitrators {
    /// Of the node behind the socket.
    pub(super) fn of(view: &View) -> Result<Self, Failure> {
        view.read(&Inquiry::Arbitrators)
    }

    /// Who judges below exactly this prefix; every shard has to say the same.
    pub(super) fn seat(&self, prefix: &[u8]) -> Result<Option<Seat>, Failure> {
        let wanted = hex(prefix);
        let seats = self.shards.iter().map(|shard| shard.seats.iter().find(|seat| seat.prefix_hex == wanted));
        let mut seats = seats.map(Option::<&Seat>::cloned);
        let first = seats.next().flatten();
        let words =
            |seat: &Option<Seat>| seat.as_ref().map(|seat| (seat.component.clone(), seat.shadow.clone()));
        if seats.all(|seat| words(&seat) == words(&first)) { Ok(first) } else { Err(split()) }
    }

    /// The judge that this prefix had before the one it has; as shard 0, which decides first, tells it.
    pub(super) fn before(&self, prefix: &[u8]) -> Result<Option<String>, Failure> {
        let wanted = hex(prefix);
        let now = self.seat(prefix)?.and_then(|seat| seat.component);
        let Some(shard) = self.shards.first() else { return Ok(None) };
        let choices =
            shard.history.iter().rev().filter(|choice| choice.prefix_hex == wanted && !choice.is_shadow);
        Ok(choices
            .filter_map(|choice| choice.component.clone())
            .find(|component| Some(component) != now.as_ref()))
    }

    /// A component as the shard that has least of it holds it; `None` when some shard has nothing.
    pub(super) fn component(&self, hash: &str) -> Result<Option<Component>, Failure> {
        let mut least: Option<Component> = None;
        for shard in &self.shards {
            let Some(found) = shard.components.iter().find(|known| known.component == hash) else {
                return Ok(None);
            };
            let is_less = |least: &Component| {
                let rank = |one: &Component| (one.is_complete, one.bytes, one.admission == "admitted");
                rank(found) < rank(least)
            };
            if least.as_ref().is_none_or(is_less) {
                least = Some(found.clone());
            }
        }
        Ok(least)
    }

    /// The only component whose hash begins so.
    pub(super) fn find(&self, beginning: &str) -> Result<&Component, Failure> {
        let all = self.shards.first().map_or(&[][..], |shard| &shard.components);
        let mut found =
            all.iter().filter(|known| !beginning.is_empty() && known.component.starts_with(beginning));
        match (found.next(), found.next()) {
            (Some(component), None) => Ok(component),
            (Some(_), Some(_)) => Err(Failure::Usage {
                what: format!("several hashes begin with `{beginning}`: give more of it"),
            }),
            (None, _) => Err(Failure::NotFound {
                what: format!("component `{beginning}`"),
                help: "`io_oi arbitrator list` shows what this node holds",
            }),
        }
    }
}

fn split() -> Failure {
    Failure::with_help(
        "the shards do not have the same judges: a decision has not reached all of them",
        "run any decision (`io_oi arbitrator deploy` again): it brings what is missing first",
    )
}

/// What the node holds.
pub(super) fn list(output: Output, socket: &Path) -> Result<(), Failure> {
    let view = View::at(socket);
    if output.is_json() {
        return output.result(view.object(&Inquiry::Arbitrators)?, String::new);
    }
    let standing = Arbitrators::of(&view)?;
    let head = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut seats = vec![head(&["prefix", "judge", "shadow", "shard", "since"])];
    let mut components = vec![head(&[
        "component",
        "name",
        "bytes",
        "admission",
        "tier",
        "shard",
        "accepted",
        "refused",
        "by code",
        "deferred",
        "faults",
        "shadow differs",
    ])];
    for shard in &standing.shards {
        seats.extend(shard.seats.iter().map(|seat| seat.row(shard.shard)));
        components.extend(shard.components.iter().map(|component| component.row(shard.shard)));
    }
    if seats.len() == 1 && components.len() == 1 {
        return output.tell("No judges: every proposal whose precondition holds is accepted.");
    }
    output.tell(&format!("{}\n\n{}", table(&seats), table(&components)))
}

/// One component that the node holds.
pub(super) fn show(output: Output, socket: &Path, beginning: &str) -> Result<(), Failure> {
    let view = View::at(socket);
    let hash = Arbitrators::of(&view)?.find(beginning)?.component.clone();
    let mut whole = view.object(&Inquiry::Arbitrators)?;
    let shards = whole.get_mut("shards").and_then(Value::as_array_mut);
    for shard in shards.into_iter().flatten() {
        if let Some(components) = shard.get_mut("components").and_then(Value::as_array_mut) {
            components.retain(|component| component["component"] == hash.as_str());
        }
        for field in ["seats", "history"] {
            if let Some(rows) = shard.get_mut(field).and_then(Value::as_array_mut) {
                rows.retain(|row| row["component"] == hash.as_str() || row["shadow"] == hash.as_str());
            }
        }
    }
    let text = serde_json::to_string_pretty(&whole).map_err(Failure::other)?;
    output.result(whole, || text)
}

impl Seat {
    fn row(&self, shard: u16) -> Vec<String> {
        let who = |hash: &Option<String>| hash.as_deref().map_or("-".to_owned(), short);
        let since = self.since.map_or("-".to_owned(), |since| since.to_string());
        vec![format!("`{}`", self.prefix), who(&self.component), who(&self.shadow), shard.to_string(), since]
    }
}

impl Component {
    fn row(&self, shard: u16) -> Vec<String> {
        let Heard { accepted, accepted_with_writes, refused, deferred, faults, elsewhere, .. } =
            self.heard.clone().unwrap_or_default();
        let Heard { shadow_heard, shadow_differences, refused_by_code, .. } =
            self.heard.clone().unwrap_or_default();
        let named = match (&self.name, &self.version) {
            (Some(name), Some(version)) => format!("{name} {version}"),
            _ => "-".to_owned(),
        };
        vec![
            short(&self.component),
            named,
            self.bytes.to_string(),
            self.admission.clone(),
            self.tier.clone().unwrap_or_else(|| "-".to_owned()),
            shard.to_string(),
            (accepted + accepted_with_writes).to_string(),
            refused.to_string(),
            by_code(&refused_by_code),
            deferred.to_string(),
            (faults + elsewhere).to_string(),
            format!("{shadow_differences} of {shadow_heard}"),
        ]
    }
}

/// `16: 5, 17: 2`: the judge's own codes, and how often each was its answer.
fn by_code(counts: &BTreeMap<String, u64>) -> String {
    let rows: Vec<String> = counts.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    if rows.is_empty() { "-".to_owned() } else { rows.join(", ") }
}
