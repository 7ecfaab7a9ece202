//! `io_oi genesis`: the file that founds a cluster, made once and signed by every operator in turn.
//!
//! A genesis that is not complete is a signed genesis whose missing signatures are all zero: no key makes such a
//! signature, so no node takes the file for a complete one.
//!
//! Invariant: a signature is added only to a genesis whose other signatures are right, and the file is complete
//! exactly when a node would take it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use io_oi_node::AcceptAll;
use io_oi_record::{
    ControlMode, Genesis, Member, Nanos, OperatorId, Signature, SignedGenesis, Signer, TrustMode,
    VerifyingKey,
};
use serde_json::{Map, Value, json};

use crate::args::cluster::{
    Founder, Genesis as Verb, GenesisKey, GenesisNew, GenesisShow, GenesisSign, resolve,
};
use crate::failure::Failure;
use crate::keys;
use crate::output::{Output, table};

/// One of the verbs.
pub(crate) fn genesis(output: Output, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::New(new) => found(output, new),
        Verb::Sign(sign) => add_signature(output, sign),
        Verb::Show(show) => describe(output, show),
        Verb::Key(key) => make_key(output, key),
    }
}

/// What a cluster is founded with.
pub(crate) struct Founding {
    pub(crate) members: Vec<Member>,
    pub(crate) operators: Vec<OperatorId>,
    pub(crate) shards: u16,
    pub(crate) trust: TrustMode,
    pub(crate) control: ControlMode,
}

impl Founding {
    /// The genesis, signed by those who are at hand. Every signer is one of the operators.
    pub(crate) fn sign(self, signers: &[Signer]) -> Result<SignedGenesis, Failure> {
        let mut hash_seed = [0; 16];
        getrandom::fill(&mut hash_seed)
            .map_err(|error| Failure::other(format!("no random bytes: {error}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let genesis = Genesis {
            members: self.members,
            operators: self.operators,
            shards: self.shards,
            trust: self.trust,
            control: self.control,
            hash_seed,
            arbitrators: AcceptAll.arbitrators(),
            created: Nanos(now),
        };
        genesis.check().map_err(|error| Failure::Usage { what: error.to_string() })?;
        let signatures = genesis.operators.iter().map(|operator| {
            let signer = signers.iter().find(|signer| signer.operator() == *operator);
            signer.map_or(UNSIGNED, |signer| signer.sign_as_witness(&genesis))
        });
        let signatures = signatures.collect();
        Ok(SignedGenesis { genesis, signatures })
    }
}

/// Reads a genesis, complete or not; whatever is signed in it is checked.
pub(crate) fn read(path: &Path) -> Result<SignedGenesis, Failure> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::with_help(
            format!("cannot read the genesis {}: {error}", path.display()),
            "name the cluster's genesis; it stands as `genesis` in every node's directory",
        )
    })?;
    let damaged = |what: String| Failure::NotProven {
        what: format!("{} is no genesis: {what}", path.display()),
        help: "ask another operator or node for the file".to_owned(),
    };
    let signed = SignedGenesis::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
    if signed.signatures.len() != signed.genesis.operators.len() {
        return Err(damaged("it has not one place for every operator's signature".to_owned()));
    }
    for (operator, signature) in signed.genesis.operators.iter().zip(&signed.signatures) {
        if *signature != UNSIGNED {
            VerifyingKey::new(&operator.0)
                .and_then(|key| key.verify(&signed.genesis, signature))
                .map_err(|error| damaged(format!("the signature of operator {operator}: {error}")))?;
        }
    }
    Ok(signed)
}

/// Reads a genesis that every operator has signed.
pub(crate) fn read_complete(path: &Path) -> Result<SignedGenesis, Failure> {
    let signed = read(path)?;
    match missing(&signed).len() {
        0 => Ok(signed),
        count => Err(Failure::NotProven {
            what: format!("{} lacks the signatures of {count} operators", path.display()),
            help: "let them run `io_oi genesis sign FILE --operator-key KEY`".to_owned(),
        }),
    }
}

const UNSIGNED: Signature = Signature([0; 64]);

fn missing(signed: &SignedGenesis) -> Vec<OperatorId> {
    let places = signed.genesis.operators.iter().zip(&signed.signatures);
    places.filter(|(_, signature)| **signature == UNSIGNED).map(|(operator, _)| *operator).collect()
}

fn found(output: Output, new: &GenesisNew) -> Result<(), Failure> {
    if new.out.exists() {
        return Err(Failure::with_help(
            format!("{} is there already", new.out.display()),
            "a genesis is never overwritten: name another file with --out, or move this one away",
        ));
    }
    check_founders(&new.members, new.keys_in.as_deref())?;
    let (operators, signers) = operators_of(new)?;
    let members = new.members.iter().map(|founder| member_of(founder, new.keys_in.as_deref()));
    let founding = Founding {
        members: members.collect::<Result<_, _>>()?,
        operators,
        shards: new.shards,
        trust: new.trust.into(),
        control: new.control.into(),
    };
    let signed = founding.sign(&signers)?;
    save(&signed, &new.out)?;
    let placed = match (&new.keys_in, missing(&signed).is_empty()) {
        (Some(dir), true) => place_in_directories(&signed, dir)?,
        _ => Vec::new(),
    };
    warn_of_names(output, &signed);
    say(output, &signed, &new.out, &placed)
}

fn check_founders(members: &[Founder], keys_in: Option<&Path>) -> Result<(), Failure> {
    let nameless = members.iter().find(|member| member.node.is_none());
    match nameless {
        Some(member) if keys_in.is_none() => Err(Failure::Usage {
            what: format!(
                "member {} has no key: give {}=KEY@{}, or make the keys with --keys-in DIR",
                member.name, member.name, member.address
            ),
        }),
        _ => Ok(()),
    }
}

fn operators_of(new: &GenesisNew) -> Result<(Vec<OperatorId>, Vec<Signer>), Failure> {
    let beside = new.out.with_file_name("operator.key");
    let files: Vec<PathBuf> = match new.operator_keys.is_empty() && new.operators.is_empty() {
        true => vec![beside],
        false => new.operator_keys.clone(),
    };
    let signers: Vec<Signer> = files.iter().map(|file| keys::load_or_make(file)).collect::<Result<_, _>>()?;
    let named = signers.iter().map(Signer::operator).chain(new.operators.iter().copied());
    Ok((named.collect(), signers))
}

fn member_of(founder: &Founder, keys_in: Option<&Path>) -> Result<Member, Failure> {
    let node = match (founder.node, keys_in) {
        (Some(node), _) => node,
        (None, Some(dir)) => make_node_directory(&dir.join(&founder.name))?.node(),
        (None, None) => unreachable!("founders without a key were refused before anything was made"),
    };
    Ok(Member { node, name: founder.name.clone(), address: founder.address.clone() })
}

/// A directory that a node will call its own; the key in it may be there from an earlier try.
pub(crate) fn make_node_directory(dir: &Path) -> Result<Signer, Failure> {
    fs::create_dir_all(dir).map_err(|error| {
        Failure::with_help(
            format!("cannot make the directory {}: {error}", dir.display()),
            "choose a place that you may write with --keys-in",
        )
    })?;
    if dir.join("genesis").exists() {
        return Err(Failure::with_help(
            format!("{} belongs to a cluster already", dir.display()),
            "choose another place with --keys-in, or another name for the member",
        ));
    }
    keys::load_or_make(&dir.join("node.key"))
}

/// Puts a complete genesis into the directories of the members that have one here.
fn place_in_directories(signed: &SignedGenesis, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut placed = Vec::new();
    for member in &signed.genesis.members {
        let home = dir.join(&member.name);
        if home.join("node.key").exists() {
            save(signed, &home.join("genesis"))?;
            placed.push(home);
        }
    }
    Ok(placed)
}

/// Writes the file.
pub(crate) fn save(signed: &SignedGenesis, path: &Path) -> Result<(), Failure> {
    let bytes = signed.encode().map_err(Failure::other)?;
    keys::replace(path, &bytes)
}

fn warn_of_names(output: Output, signed: &SignedGenesis) {
    for member in &signed.genesis.members {
        if resolve(&member.address).ok().flatten().is_none() {
            output.remark(&format!(
                "note: {} does not resolve here; {} must be reachable under it",
                member.address, member.name
            ));
        }
    }
}

fn add_signature(output: Output, sign: &GenesisSign) -> Result<(), Failure> {
    let mut signed = read(&sign.file)?;
    let signer = keys::load(&sign.operator_key)?;
    let place = signed.genesis.operators.iter().position(|operator| *operator == signer.operator());
    let Some(place) = place else {
        return Err(Failure::with_help(
            format!("the genesis does not name operator {}", signer.operator()),
            "`io_oi genesis show` lists its operators; one that is missing needs a new genesis",
        ));
    };
    signed.signatures[place] = signer.sign_as_witness(&signed.genesis);
    save(&signed, &sign.file)?;
    say(output, &signed, &sign.file, &[])
}

fn describe(output: Output, show: &GenesisShow) -> Result<(), Failure> {
    let signed = read(&show.file)?;
    output.result(object(&signed), || text(&signed))
}

fn make_key(output: Output, key: &GenesisKey) -> Result<(), Failure> {
    let signer = keys::make(&key.file)?;
    let public = signer.node().to_string();
    let object = json!({"key": public, "file": key.file.display().to_string()});
    output.result(as_map(object), || public)
}

fn say(output: Output, signed: &SignedGenesis, path: &Path, placed: &[PathBuf]) -> Result<(), Failure> {
    let mut fields = object(signed);
    fields.insert("file".to_owned(), path.display().to_string().into());
    let homes: Vec<String> = placed.iter().map(|home| home.display().to_string()).collect();
    fields.insert("placed".to_owned(), homes.clone().into());
    output.result(fields, || {
        let open = missing(signed);
        let mut lines = vec![text(signed), String::new()];
        if open.is_empty() {
            lines.push(format!("{} is complete.", path.display()));
            match homes.is_empty() {
                true => lines.push(
                    "Put it as `genesis` into the directory of every node, beside its node.key, then:"
                        .to_owned(),
                ),
                false => lines.push("Take each directory to its host, then start there:".to_owned()),
            }
            let dirs = if homes.is_empty() { vec!["DIR".to_owned()] } else { homes };
            lines.extend(dirs.iter().map(|dir| format!("  io_oi node run --dir {dir}")));
        } else {
            lines.push(format!(
                "{} of {} operators have still to sign:",
                open.len(),
                signed.genesis.operators.len()
            ));
            lines.push(format!("  io_oi genesis sign {} --operator-key FILE", path.display()));
        }
        lines.join("\n")
    })
}

fn object(signed: &SignedGenesis) -> Map<String, Value> {
    let genesis = &signed.genesis;
    let members: Vec<Value> = genesis
        .members
        .iter()
        .map(
            |member| json!({"name": member.name, "node": member.node.to_string(), "address": member.address}),
        )
        .collect();
    let operators: Vec<Value> = genesis
        .operators
        .iter()
        .zip(&signed.signatures)
        .map(|(operator, signature)| json!({"key": operator.to_string(), "signed": *signature != UNSIGNED}))
        .collect();
    as_map(json!({
        "cluster": genesis.cluster().to_string(),
        "complete": missing(signed).is_empty(),
        "members": members,
        "operators": operators,
        "shards": genesis.shards,
        "control": control_word(genesis.control),
        "trust": trust_word(genesis.trust),
        "arbitrators": genesis.arbitrators.to_string(),
        "created_ns": genesis.created.get(),
    }))
}

fn text(signed: &SignedGenesis) -> String {
    let genesis = &signed.genesis;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rules = table(&[
        row("cluster", genesis.cluster().to_string()),
        row("shards", genesis.shards.to_string()),
        row("control", control_word(genesis.control).to_owned()),
        row("trust", trust_word(genesis.trust).to_owned()),
    ]);
    let mut members = vec![vec!["member".to_owned(), "address".to_owned(), "key".to_owned()]];
    members.extend(genesis.members.iter().map(|member| {
        vec![crate::bytes::escaped(member.name.as_bytes()), member.address.clone(), member.node.to_string()]
    }));
    let mut operators = vec![vec!["operator".to_owned(), "signed".to_owned()]];
    operators.extend(genesis.operators.iter().zip(&signed.signatures).map(|(operator, signature)| {
        vec![operator.to_string(), if *signature == UNSIGNED { "not yet" } else { "yes" }.to_owned()]
    }));
    [rules, table(&members), table(&operators)].join("\n\n")
}

/// As on the command line.
pub(crate) fn control_word(control: ControlMode) -> &'static str {
    match control {
        ControlMode::Strict => "strict",
        ControlMode::Competitive => "competitive",
    }
}

fn trust_word(trust: TrustMode) -> &'static str {
    match trust {
        TrustMode::Full => "full",
        TrustMode::Localized => "localized",
    }
}

fn as_map(object: Value) -> Map<String, Value> {
    let Value::Object(object) = object else { unreachable!("json! of an object is an object") };
    object
}
