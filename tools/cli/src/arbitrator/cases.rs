//! A table of cases: what a judge is asked, and what it has to answer.
//!
//! ```toml
//! [[case]]
//! name = "an order within its limits"
//! context = { time-ns = 1000, operator = true }              # what is not said is 0; kind follows from the proposal
//! state = [{ key = "ord/acct7/", value = "hex:0100", sequence = 3 }]    # without a value: the key does not exist
//! proposal = { key = "ord/acct7/o1", value = ["u8:1", "u64:250"] }      # without a value: a removal; or { raw = … }
//! plan = ["ord/acct7/"]                                      # the keys that a planning judge has to name
//! expect = "accept"                                          # accept, refuse 16, defer, fault, fault fuel
//! effects = [{ key = "ord/acct7/", value = "hex:0101" }]     # without a value: a removal
//! fuel-max = 900
//! ```
//!
//! A batch has `[[case.batch]]` with `proposal`, `expect` and `effects` each, in place of those of the case. Bytes are a
//! text, or a list of parts behind one another: text, `hex:`, `u8:`, `u16:`, `u32:`, `u64:`, `i64:` (little endian), and
//! `text:` in front of a text that begins like one of these.
//!
//! Invariant: a table that reads is well-shaped: every case asks something and expects something.

use std::path::Path;

use io_oi_arbitrator::sdk::abi::BATCH_MAX;
use io_oi_arbitrator::sdk::{Cell, Context, Write};
use serde::Deserialize;

use crate::bytes::from_hex;
use crate::failure::Failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "case")]
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCase {
    name: String,
    #[serde(default)]
    context: RawContext,
    #[serde(default)]
    state: RawState,
    proposal: Option<RawProposal>,
    expect: Option<String>,
    effects: Option<Vec<RawWrite>>,
    #[serde(default)]
    batch: Vec<RawAsked>,
    plan: Option<Vec<Bytes>>,
    fuel_max: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawContext {
    sequence: u64,
    epoch: u64,
    time_ns: u64,
    seed: u64,
    proposer: u64,
    kind: Option<u32>,
    operator: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawState {
    Cells(Vec<RawCell>),
    Raw { raw: Bytes },
}

impl Default for RawState {
    fn default() -> Self {
        RawState::Cells(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCell {
    key: Bytes,
    value: Option<Bytes>,
    #[serde(default)]
    sequence: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAsked {
    proposal: RawProposal,
    expect: String,
    effects: Option<Vec<RawWrite>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawProposal {
    Write(RawWrite),
    Raw { raw: Bytes },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWrite {
    key: Bytes,
    value: Option<Bytes>,
}

/// Bytes as a table writes them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bytes {
    One(String),
    Parts(Vec<String>),
}

/// One question with its answer.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) context: Context,
    pub(super) state: Vec<u8>,
    pub(super) asked: Vec<Asked>,
    pub(super) is_batch: bool,
    pub(super) plan: Option<Vec<Vec<u8>>>,
    pub(super) fuel_max: Option<u64>,
}

/// One proposal with what is expected of it.
pub(super) struct Asked {
    pub(super) proposal: Vec<u8>,
    pub(super) expect: String,
    /// `None` when the table does not say.
    pub(super) effects: Option<Vec<u8>>,
}

/// Reads a table.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::with_help(
            format!("cannot read {}: {error}", path.display()),
            "name a table of cases: `io_oi arbitrator new` writes one to begin from",
        )
    })?;
    parse(&text).map_err(|what| Failure::Usage { what: format!("{}: {what}", path.display()) })
}

fn parse(text: &str) -> Result<Vec<Case>, String> {
    let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    if table.cases.is_empty() {
        return Err("it has no case".to_owned());
    }
    let case = |(index, raw): (usize, RawCase)| {
        let name = raw.name.clone();
        case(raw).map_err(|what| format!("case {} (`{name}`): {what}", index + 1))
    };
    table.cases.into_iter().enumerate().map(case).collect()
}

fn case(raw: RawCase) -> Result<Case, String> {
    let is_batch = !raw.batch.is_empty();
    let asked = match (raw.proposal, raw.expect) {
        (Some(proposal), Some(expect)) if !is_batch => {
            vec![RawAsked { proposal, expect, effects: raw.effects }]
        }
        (None, None) if is_batch && raw.batch.len() <= BATCH_MAX => raw.batch,
        _ => {
            return Err(format!(
                "it needs `proposal` and `expect`, or up to {BATCH_MAX} of `[[case.batch]]` with both"
            ));
        }
    };
    let is_delete = matches!(&asked[0].proposal, RawProposal::Write(write) if write.value.is_none());
    let RawContext { sequence, epoch, time_ns, seed, proposer, kind, operator } = raw.context;
    let kind = kind.unwrap_or(if is_delete { Context::DELETE } else { Context::PUT });
    let attrs = if operator { Context::OPERATOR } else { 0 };
    let plan = raw.plan.map(|keys| keys.iter().map(Bytes::bytes).collect::<Result<_, _>>());
    Ok(Case {
        name: raw.name,
        context: Context { sequence, epoch, time_ns, seed, proposer, kind, attrs },
        state: state(&raw.state)?,
        asked: asked.into_iter().map(question).collect::<Result<_, _>>()?,
        is_batch,
        plan: plan.transpose()?,
        fuel_max: raw.fuel_max,
    })
}

fn question(raw: RawAsked) -> Result<Asked, String> {
    let proposal = match &raw.proposal {
        RawProposal::Raw { raw } => raw.bytes()?,
        RawProposal::Write(write) => encode(write)?,
    };
    let word = raw.expect.split_whitespace().collect::<Vec<_>>().join(" ");
    check_word(&word)?;
    let effects = raw.effects.map(|writes| writes.iter().map(encode).collect::<Result<Vec<_>, _>>());
    Ok(Asked { proposal, expect: word, effects: effects.transpose()?.map(|writes| writes.concat()) })
}

fn check_word(word: &str) -> Result<(), String> {
    let is_known = match word.split_once(' ') {
        None => matches!(word, "accept" | "defer" | "fault" | "refuse"),
        Some(("refuse", code)) => code.parse::<u32>().is_ok(),
        Some(("fault", kind)) => io_oi_arbitrator::Fault::ALL.iter().any(|fault| fault.name() == kind),
        Some(_) => false,
    };
    let text = || format!("`{word}` is no answer: accept, refuse, refuse CODE, defer, fault or fault KIND");
    if is_known { Ok(()) } else { Err(text()) }
}

fn encode(write: &RawWrite) -> Result<Vec<u8>, String> {
    let (key, value) = (write.key.bytes()?, write.value.as_ref().map(Bytes::bytes).transpose()?);
    let value_bytes = value.as_deref().unwrap_or(&[]);
    let write = Write { key: &key, value: value_bytes, is_delete: value.is_none() };
    let mut out = vec![0; write.encoded_bytes()];
    write.encode(&mut out).ok_or("a key or a value is too long")?;
    Ok(out)
}

fn state(raw: &RawState) -> Result<Vec<u8>, String> {
    let cells = match raw {
        RawState::Raw { raw } => return raw.bytes(),
        RawState::Cells(cells) => cells,
    };
    let mut state = Vec::new();
    for raw in cells {
        let (key, value) = (raw.key.bytes()?, raw.value.as_ref().map(Bytes::bytes).transpose()?);
        let cell = Cell { key: &key, value: value.as_deref(), sequence: raw.sequence };
        let begin = state.len();
        state.resize(begin + cell.encoded_bytes(), 0);
        cell.encode(&mut state[begin..]).ok_or("a key or a value is too long")?;
    }
    Ok(state)
}

impl Bytes {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Bytes::One(text) => part(text),
            Bytes::Parts(parts) => {
                Ok(parts.iter().map(|text| part(text)).collect::<Result<Vec<_>, _>>()?.concat())
            }
        }
    }
}

fn part(text: &str) -> Result<Vec<u8>, String> {
    let number =
        |digits: &str, error: std::num::ParseIntError| format!("`{digits}` is no such number: {error}");
    let Some((kind, rest)) = text.split_once(':') else { return Ok(text.into()) };
    macro_rules! little_endian {
        ($type:ty) => {
            rest.parse::<$type>()
                .map(|number| number.to_le_bytes().to_vec())
                .map_err(|error| number(rest, error))
        };
    }
    match kind {
        "text" => Ok(rest.into()),
        "hex" => from_hex(rest),
        "u8" => little_endian!(u8),
        "u16" => little_endian!(u16),
        "u32" => little_endian!(u32),
        "u64" => little_endian!(u64),
        "i64" => little_endian!(i64),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_what_is_asked_and_what_is_expected() {
        let cases = parse(
            r#"
            [[case]]
            name = "all of it"
            context = { time-ns = 5, operator = true }
            state = [{ key = "a/", value = ["u16:258", "hex:ff", "text:u8:1"], sequence = 9 }, { key = "b/" }]
            proposal = { key = "a/x" }
            plan = ["a/", "b/"]
            expect = "refuse  16"
            effects = []
            fuel-max = 70
            [[case]]
            name = "bytes that are no write"
            proposal = { raw = "hex:00" }
            expect = "fault fuel"
            "#,
        )
        .unwrap();
        let (one, other) = (&cases[0], &cases[1]);
        assert_eq!((one.context.time_ns, one.context.kind, one.context.attrs), (5, Context::DELETE, 1));
        let (cell, rest) = Cell::first(&one.state).unwrap();
        assert_eq!((cell.value.unwrap(), cell.sequence), (&b"\x02\x01\xffu8:1"[..], 9));
        assert_eq!(Cell::first(rest).unwrap().0.value, None);
        assert!(Write::only(&one.asked[0].proposal).unwrap().is_delete);
        assert_eq!(
            (one.asked[0].expect.as_str(), one.asked[0].effects.as_deref()),
            ("refuse 16", Some(&[][..]))
        );
        assert_eq!((one.fuel_max, one.plan.as_ref().unwrap().len()), (Some(70), 2));
        assert_eq!((other.asked[0].proposal.as_slice(), other.context.kind), (&[0][..], Context::PUT));
    }

    #[test]
    fn a_batch_has_its_own_proposals() {
        let text = "[[case]]\nname = 'b'\n[[case.batch]]\nproposal = { key = 'a', value = '1' }\nexpect = 'accept'\n\
                    [[case.batch]]\nproposal = { key = 'b', value = '2' }\nexpect = 'defer'\n";
        let case = &parse(text).unwrap()[0];
        assert!(case.is_batch && case.asked.len() == 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let bad = [
            ("", "case"),
            ("[[case]]\nname = 'n'", "proposal"),
            ("[[case]]\nname = 'n'\nproposal = { key = 'k' }\nexpect = 'perhaps'", "perhaps"),
            ("[[case]]\nname = 'n'\nproposal = { key = 'hex:0' }\nexpect = 'accept'", "pairs"),
            ("[[case]]\nname = 'n'\nproposal = { key = 'u8:300' }\nexpect = 'accept'", "300"),
            ("[[case]]\nname = 'n'\nproposals = 1\nproposal = { key = 'k' }\nexpect = 'accept'", "proposals"),
        ];
        for (text, named) in bad {
            let error = parse(text).err().unwrap();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
