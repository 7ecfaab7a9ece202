//! What can be typed about a cluster: its genesis, its members, its leaders, its evidence, its proofs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use io_oi_record::{ControlMode, NodeId, OperatorId, TrustMode};

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
pub(crate) enum Evidence {
    /// Check an evidence file, offline, with nothing but the genesis.
    #[command(after_help = "Example:\n  io_oi evidence verify n3.evidence --genesis cluster.genesis")]
    Verify(EvidenceVerify),
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
}
