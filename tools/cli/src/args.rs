//! What can be typed.

pub(crate) mod arbitrator;
pub(crate) mod cluster;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use io_oi_record::Durability;

/// A local-first, durable state plane for trading strategies: one binary for node and operators.
#[derive(Parser, Debug)]
#[command(name = "io_oi", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Print JSON: one object per line on standard output, everything else on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The node's socket [default: IO_OI_SOCKET, then the newest `io_oi dev` of this user].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start a cluster in a temporary directory and show what it does.
    Dev(Dev),
    /// Run a node for good.
    #[command(subcommand)]
    Node(Node),
    /// Read one key from shared memory.
    Get(Get),
    /// Write one key and wait for its receipt.
    Put(Put),
    /// Delete one key and wait for the receipt.
    Delete(Delete),
    /// Print committed changes under a prefix as they happen.
    Watch(Watch),
    /// Show the node, its shards and their counters.
    Status(Status),
    /// Found a cluster.
    #[command(subcommand)]
    Genesis(cluster::Genesis),
    /// Who belongs to the cluster.
    #[command(subcommand)]
    Peer(cluster::Peer),
    /// Who leads.
    #[command(subcommand)]
    Leader(cluster::Leader),
    /// Judges of proposals: write, build, try.
    #[command(subcommand)]
    Arbitrator(arbitrator::Arbitrator),
    /// Proofs of lies.
    #[command(subcommand)]
    Evidence(cluster::Evidence),
    /// Write a file that proves a key's newest committed value to anybody.
    Prove(cluster::Prove),
    /// Check a proof file, offline, with nothing but the genesis.
    Verify(cluster::Verify),
    /// Copy a running node's logs, and prove the copy.
    #[command(after_help = "Example:\n  io_oi backup /backup/monday --socket n1/io_oi.sock")]
    Backup(cluster::Backup),
    /// Make a node's directory of a backup, or check a backup.
    #[command(after_help = cluster::RESTORE_EXAMPLE)]
    Restore(cluster::Restore),
}

#[derive(Args, Debug)]
pub(crate) struct Dev {
    /// Nodes to start: 1, 3, 5 or 7 [default: what --dir was founded for, else 3].
    #[arg(long, value_name = "N", value_parser = odd_nodes)]
    pub(crate) nodes: Option<u16>,
    /// Keep everything in this directory [default: a temporary one, removed at the end].
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// Stop by itself this many seconds after the demonstration [default: run until interrupted].
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Start the nodes only.
    #[arg(long)]
    pub(crate) no_demo: bool,
    /// Shards of a new cluster.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u16>,
    /// Where the first node serves Redis clients, or `off`; the others take the next free ports, and so does the first when
    /// this one is taken.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6379", value_parser = resp_address)]
    pub(crate) resp: RespAddress,
}

/// Where Redis clients are served, if they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RespAddress(pub(crate) Option<SocketAddr>);

fn resp_address(text: &str) -> Result<RespAddress, String> {
    if text == "off" {
        return Ok(RespAddress(None));
    }
    text.parse()
        .map(|address| RespAddress(Some(address)))
        .map_err(|_| "an address and a port (127.0.0.1:6379), or off".to_owned())
}

#[derive(Subcommand, Debug)]
pub(crate) enum Node {
    /// Run one node in the foreground until SIGINT or SIGTERM.
    Run(NodeRun),
    /// Print a commented configuration file that holds every setting with its default.
    Sample,
}

#[derive(Args, Debug)]
pub(crate) struct NodeRun {
    /// The node's TOML file. `IO_OI_*` variables and the flags below win over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the node keeps its key, its log and its socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
    /// Any other setting, as in the file: `--set hot.entries_max=100000`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Stop when the parent process dies.
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

/// How the bytes of keys and values are written on the command line.
#[derive(Args, Debug)]
pub(crate) struct Form {
    /// Keys and values are given and printed in hexadecimal.
    #[arg(long)]
    pub(crate) hex: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key.
    pub(crate) key: OsString,
    /// Read the committed version, even when a tentative one is newer.
    #[arg(long)]
    pub(crate) committed: bool,
    /// Write the value's bytes as they are, without a line end.
    #[arg(long, conflicts_with = "hex")]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// What a write waits for.
#[derive(Args, Debug)]
pub(crate) struct Patience {
    /// What the receipt stands for: local, mem-quorum, disk-quorum or certified.
    #[arg(long, default_value = "disk-quorum", value_parser = durability, value_name = "LEVEL")]
    pub(crate) durability: Durability,
    /// Give up waiting for the receipt after this many seconds (the outcome is then open).
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    pub(crate) timeout: Duration,
}

/// When a write may happen.
#[derive(Args, Debug)]
pub(crate) struct Condition {
    /// Only if the key's newest version has this sequence.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) if_sequence: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The key.
    pub(crate) key: OsString,
    /// The value; `-` reads it from standard input.
    pub(crate) value: OsString,
    /// Only if the key does not exist.
    #[arg(long, conflicts_with = "if_sequence")]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) condition: Condition,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// The key.
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) condition: Condition,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Keys starting with this; an empty prefix means all.
    #[arg(default_value = "")]
    pub(crate) prefix: OsString,
    /// Stop after this many changes.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Stop after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Leave the counters of the shards out.
    #[arg(long)]
    pub(crate) brief: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed for another reason
  2  the command line is wrong
  3  the key, the member or the evidence does not exist
  4  refused by the node (precondition, prefix, size, full)
  5  no node reachable
  6  no receipt in time: the outcome of the write is open
  7  not proven: a genesis, proof or evidence file is not what it says";

fn odd_nodes(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(nodes @ (1 | 3 | 5 | 7)) => Ok(nodes),
        Ok(2 | 4 | 6) => {
            Err("an even number survives no more failures than one node less: 1, 3, 5 or 7".to_owned())
        }
        _ => Err("1, 3, 5 or 7".to_owned()),
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    text.parse().map_err(|_| "one of: local, mem-quorum, disk-quorum, certified".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds, like 10 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= SECONDS_MAX => Ok(duration),
        _ => Err(format!("from 0 to {} seconds", SECONDS_MAX.as_secs())),
    }
}

/// A year: longer waits are a slip of the finger, and this never overflows a deadline.
const SECONDS_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_even_number_of_nodes_is_refused_with_the_reason() {
        let error = Arguments::try_parse_from(["io_oi", "dev", "--nodes", "4"]).unwrap_err();
        assert!(error.to_string().contains("survives no more failures"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(Arguments::try_parse_from(["io_oi", "dev", "--nodes", "5"]).is_ok());
    }

    #[test]
    fn seconds_take_fractions_and_refuse_nonsense() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for nonsense in ["-1", "nan", "inf", "1e300", "soon"] {
            assert!(seconds(nonsense).is_err(), "{nonsense}");
        }
    }
}
