//! What can be typed about a cluster: its genesis, its members, its leaders, its evidence, its proofs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use io_oi_record::{ControlMode, Hash, Member, NodeId, OperatorId, TrustMode};

use super::seconds;

#[derive(Subcommand, Debug)]
pub(crate) enum Genesis {
    /// Write the file that founds a cluster, signed by the operator keys that are at hand.
    #[command(after_help = NEW_EXAMPLE)]
    New(GenesisNew),
    /// Add an operator's signature to a genesis that is not complete yet.
    #[command(after_help = "Example:\n  io_oi genesis sign cluster.genesis --operator-key bob.key")]
    Sign(GenesisSign),
    /// Show who founds the cluster, by which rules, and who has still to sign.
    #[command(after_help = "Example:\n  io_oi genesis show cluster.genesis --json")]
    Show(GenesisShow),
    /// Make a key file (mode 0600) and print its public half, for a node or an operator of a genesis to come.
    #[command(after_help = "Example:\n  io_oi genesis key bob.key")]
    Key(GenesisKey),
}

#[derive(Args, Debug)]
pub(crate) struct GenesisNew {
    /// The first voters, one to seven: NAME=KEY@HOST:PORT, or NAME@HOST:PORT with --keys-in.
    #[arg(required = true, value_name = "MEMBER", value_parser = founder)]
    pub(crate) members: Vec<Founder>,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "cluster.genesis")]
    pub(crate) out: PathBuf,
    /// Make the missing keys: DIR/NAME becomes a directory that `io_oi node run --dir` takes.
    #[arg(long, value_name = "DIR")]
    pub(crate) keys_in: Option<PathBuf>,
    /// Public key of an operator who signs later (may be repeated).
    #[arg(long = "operator", value_name = "KEY")]
    pub(crate) operators: Vec<OperatorId>,
    /// Key file of an operator who signs now; made when it is not there (may be repeated). Without any operator:
    /// `operator.key` beside the genesis.
    #[arg(long = "operator-key", value_name = "FILE")]
    pub(crate) operator_keys: Vec<PathBuf>,
    /// Who may stand for leader: strict (the appointed node), competitive (any voter).
    #[arg(long, value_enum, default_value_t = Control::Strict)]
    pub(crate) control: Control,
    /// Who receives what: full (everything to everybody), localized (others than voters by gossip).
    #[arg(long, value_enum, default_value_t = Trust::Full)]
    pub(crate) trust: Trust,
    /// Shards of the cluster, for ever.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) shards: u16,
}

#[derive(Args, Debug)]
pub(crate) struct GenesisSign {
    /// The genesis; replaced by the one that has the signature.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The operator's key file.
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct GenesisShow {
    /// The genesis.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct GenesisKey {
    /// The key file to make.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Peer {
    /// Who belongs to the cluster, and how far each has come.
    #[command(after_help = "Example:\n  io_oi peer list --json")]
    List,
    /// Let a new node follow the cluster. It holds everything and counts for nothing until it is promoted.
    #[command(
        after_help = "Example:\n  io_oi peer add n4=3fa1…@10.0.0.4:7000 --operator-key operator.key\n  (KEY is what `io_oi genesis key DIR/node.key` printed on the new node)"
    )]
    Add(PeerAdd),
    /// Let a learner that is level count as a voter.
    #[command(after_help = "Example:\n  io_oi peer promote n4 --operator-key operator.key")]
    Promote(PeerChange),
    /// Take a member out.
    #[command(after_help = "Example:\n  io_oi peer remove n2 --operator-key operator.key")]
    Remove(PeerChange),
}

#[derive(Args, Debug)]
pub(crate) struct PeerAdd {
    /// The new member: NAME=KEY@HOST:PORT.
    #[arg(value_name = "MEMBER", value_parser = member)]
    pub(crate) member: Member,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

#[derive(Args, Debug)]
pub(crate) struct PeerChange {
    /// The member's name, key, or the beginning of its key.
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Leader {
    /// Who leads each shard.
    #[command(after_help = "Example:\n  io_oi leader show")]
    Show,
    /// Name the node that may lead (strict control). Also when no leader lives: then ask the appointed node itself.
    #[command(
        after_help = "Example:\n  io_oi leader appoint n2 --operator-key operator.key --socket /var/lib/n2/io_oi.sock"
    )]
    Appoint(LeaderChange),
    /// Hand the lead over to a node that is level, and wait until it leads.
    #[command(after_help = "Example:\n  io_oi leader transfer n2 --shard 0 --operator-key operator.key")]
    Transfer(LeaderChange),
}

#[derive(Args, Debug)]
pub(crate) struct LeaderChange {
    /// The member's name, key, or the beginning of its key.
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// Only this shard [default: every shard].
    #[arg(long, value_name = "N")]
    pub(crate) shard: Option<u16>,
    #[command(flatten)]
    pub(crate) operator: Operator,
}

/// Who decides, and how long to wait for the answer.
#[derive(Args, Debug)]
pub(crate) struct Operator {
    /// The operator's key file [default: IO_OI_OPERATOR_KEY, then the one of the newest `io_oi dev`].
    #[arg(long, value_name = "FILE")]
    pub(crate) operator_key: Option<PathBuf>,
    /// Give up waiting after this many seconds (the outcome is then open).
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Evidence {
    /// Proofs of lies that this node holds.
    #[command(after_help = "Example:\n  io_oi evidence list")]
    List,
    /// Write one piece of evidence into a file that convicts by itself.
    #[command(after_help = "Example:\n  io_oi evidence export 7b21 --out n3.evidence")]
    Export(EvidenceExport),
    /// Check an evidence file, offline, with nothing but the genesis.
    #[command(after_help = "Example:\n  io_oi evidence verify n3.evidence --genesis cluster.genesis")]
    Verify(EvidenceVerify),
}

#[derive(Args, Debug)]
pub(crate) struct EvidenceExport {
    /// The evidence's hash or the beginning of it, as `evidence list` shows it.
    #[arg(value_name = "HASH", value_parser = hash_beginning)]
    pub(crate) hash: String,
    /// The file to write [default: HASH.evidence].
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct EvidenceVerify {
    /// The evidence file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The cluster's genesis.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  io_oi prove risk/limit --out limit.proof")]
pub(crate) struct Prove {
    /// The key.
    pub(crate) key: std::ffi::OsString,
    /// The file to write [default: io_oi.proof].
    #[arg(long, value_name = "FILE", default_value = "io_oi.proof")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) form: super::Form,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  io_oi verify limit.proof --genesis cluster.genesis")]
pub(crate) struct Verify {
    /// The proof file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The cluster's genesis.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    #[command(flatten)]
    pub(crate) form: super::Form,
}

/// Who may stand for leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Control {
    /// The appointed node alone.
    Strict,
    /// Any voter.
    Competitive,
}

/// Who receives what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trust {
    /// Everything to everybody.
    Full,
    /// Others than voters by gossip.
    Localized,
}

impl From<Control> for ControlMode {
    fn from(control: Control) -> Self {
        match control {
            Control::Strict => ControlMode::Strict,
            Control::Competitive => ControlMode::Competitive,
        }
    }
}

impl From<Trust> for TrustMode {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Full => TrustMode::Full,
            Trust::Localized => TrustMode::Localized,
        }
    }
}

/// A member of a genesis to come, with or without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founder {
    pub(crate) name: String,
    pub(crate) node: Option<NodeId>,
    pub(crate) address: String,
}

fn founder(text: &str) -> Result<Founder, String> {
    let (named, address) = text.rsplit_once('@').ok_or_else(|| FORM.to_owned())?;
    let (name, node) = match named.split_once('=') {
        Some((name, key)) => (name, Some(key.parse::<NodeId>().map_err(|error| error.to_string())?)),
        None => (named, None),
    };
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(format!("`{name}` is no name for a member: letters, digits and dashes are"));
    }
    check_address(address)?;
    Ok(Founder { name: name.to_owned(), node, address: address.to_owned() })
}

fn member(text: &str) -> Result<Member, String> {
    let Founder { name, node, address } = founder(text)?;
    let node = node.ok_or_else(|| format!("{FORM}; `io_oi genesis key FILE` makes a key and prints it"))?;
    Ok(Member { node, name, address })
}

/// The form is checked here, reachability is the network's: a name that does not resolve yet is let through.
fn check_address(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("an address is HOST:PORT")?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_host =
        address.parse::<SocketAddr>().is_ok() || !host.is_empty() && !host.contains([':', ' ', '/']);
    match is_port && is_host {
        true => Ok(()),
        false => Err(format!("`{address}` is no address: HOST:PORT, or [IPV6]:PORT")),
    }
}

/// Where an address leads to now.
pub(crate) fn resolve(address: &str) -> std::io::Result<Option<SocketAddr>> {
    Ok(address.to_socket_addrs()?.next())
}

fn hash_beginning(text: &str) -> Result<String, String> {
    let is_hash =
        !text.is_empty() && text.len() <= 2 * Hash::BYTES && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_hash {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a hash, or its first hexadecimal digits".to_owned())
    }
}

const FORM: &str = "a member is NAME=KEY@HOST:PORT, KEY being 64 hexadecimal digits";

const NEW_EXAMPLE: &str = "\
Examples:
  io_oi genesis new n1@10.0.0.1:7000 n2@10.0.0.2:7000 n3@10.0.0.3:7000 --keys-in nodes
      makes nodes/n1, nodes/n2, nodes/n3 and operator.key, signs, and puts the genesis into each of them
  io_oi genesis new n1=3fa1…@10.0.0.1:7000 … --operator-key alice.key --operator 9c44…
      signed by alice; complete when the other operator has run `io_oi genesis sign`
A shard takes the port of its number: shard 0 the one given, shard 1 the next, and so on.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_founder_has_a_name_an_address_and_perhaps_a_key() {
        let key = "ab".repeat(32);
        let with = founder(&format!("n1={key}@10.0.0.1:7000")).unwrap();
        assert_eq!((with.name.as_str(), with.address.as_str()), ("n1", "10.0.0.1:7000"));
        assert_eq!(with.node, Some(NodeId([0xab; 32])));
        assert_eq!(founder("n2@[::1]:7000").unwrap().node, None);
        for wrong in
            ["n1", "n1@host", "n1@host:0", "n1=abc@host:1", "@host:1", "a/b@host:1", "..@host:1", "n@a:b:1"]
        {
            assert!(founder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_member_needs_its_key() {
        assert!(member("n1@host:7000").unwrap_err().contains("genesis key"));
    }

    #[test]
    fn a_hash_may_be_cut_short() {
        assert_eq!(hash_beginning("7B2").as_deref(), Ok("7b2"));
        assert!(hash_beginning("").is_err() && hash_beginning("xyz").is_err());
    }
}

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The directory to make.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The node's directory [default: the one that its socket stands in].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// What `io_oi backup` made.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The node's directory to make.
    #[arg(value_name = "DIR", required_unless_present = "check")]
    pub(crate) dir: Option<PathBuf>,
    /// Only prove what the backup holds; write nothing.
    #[arg(long, conflicts_with_all = ["dir", "own_key"])]
    pub(crate) check: bool,
    /// Bring back the very node that was backed up, under its own key, from this file. Only where no quorum is left that goes
    /// on without it: what it did after the backup is forgotten.
    #[arg(long, value_name = "FILE")]
    pub(crate) own_key: Option<PathBuf>,
}

pub(crate) const RESTORE_EXAMPLE: &str = "Examples:
  io_oi restore /backup/monday --check
  io_oi restore /backup/monday n4                          # a new node; then: io_oi peer add
  io_oi restore /backup/monday n1 --own-key safe/node.key  # the only node, after its disk was lost";
