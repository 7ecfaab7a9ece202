//! A cluster of the probe's own: its genesis, what its nodes say about themselves, and an operator's word to it.
//!
//! Invariant: nothing here is believed about a node but its own answer; a node that does not answer counts as away.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use io_oi_client::{Inquiry, Submission, inquire, inquire_within};
use io_oi_node::{AcceptAll, free_loopback_ports};
use io_oi_record::governance::{Appointment, Change, Governance, SignedGovernance};
use io_oi_record::{
    ControlMode, Genesis, Hash, Member, Nanos, NodeId, Receipt, ShardId, SignedGenesis, Signer, TrustMode,
};
use serde::Deserialize;

use crate::failure::Failure;

/// One node's own words.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    /// Its key.
    pub node: String,
    /// The cluster's id.
    pub cluster: String,
    /// In order.
    pub shards: Vec<ShardStatus>,
}

/// One shard of one node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardStatus {
    /// The epoch it is in.
    pub epoch: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<String>,
    /// Last sequence that it holds.
    pub tip: u64,
    /// Last sequence that it knows to be committed.
    pub committed: u64,
    /// Hash over the state at a sequence.
    pub state_hash: StateHash,
    /// Newest decision of an operator.
    pub governance: u64,
}

/// The state of a shard at one sequence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct StateHash {
    /// Where.
    pub sequence: u64,
    /// What.
    pub hash: String,
}

impl Status {
    /// Asks one node; `None` when it does not answer.
    pub(crate) fn of(socket: &Path) -> Option<Self> {
        serde_json::from_slice(&inquire_within(socket, &Inquiry::Status, ANSWER_MAX).ok()?).ok()
    }

    /// Whether it leads this shard, by its own word.
    pub(crate) fn leads(&self, shard: ShardId) -> bool {
        self.shards.get(shard.index()).is_some_and(|shard| shard.leader.as_deref() == Some(&self.node))
    }
}

/// Makes keys, directories and a genesis for a cluster in which any voter may stand. Gives the operator.
pub(crate) fn found(dirs: &[std::path::PathBuf], shards: u16) -> Result<Signer, Failure> {
    let operator = Signer::from_secret(&random()?);
    let ports = free_loopback_ports(dirs.len(), shards)
        .ok_or_else(|| Failure::Usage("no free ports on loopback for so many nodes and shards".into()))?;
    let mut members = Vec::new();
    for (index, (dir, port)) in dirs.iter().zip(ports).enumerate() {
        let secret = random()?;
        write_key(dir, &secret).map_err(Failure::io("writing a node's key"))?;
        let node = Signer::from_secret(&secret).node();
        members.push(Member { node, name: format!("n{}", index + 1), address: format!("127.0.0.1:{port}") });
    }
    let genesis = Genesis {
        members,
        operators: vec![operator.operator()],
        shards,
        trust: TrustMode::Full,
        control: ControlMode::Competitive,
        hash_seed: HASH_SEED,
        arbitrators: AcceptAll.arbitrators(),
        created: now(),
    };
    let signed =
        SignedGenesis::sign(genesis, &[&operator]).map_err(|error| Failure::Usage(error.to_string()))?;
    let bytes = signed.encode().map_err(|error| Failure::Usage(error.to_string()))?;
    for dir in dirs {
        std::fs::write(dir.join("genesis"), &bytes).map_err(Failure::io("writing the genesis"))?;
    }
    Ok(operator)
}

/// An appointment under the next number, ready to be submitted.
pub(crate) struct Decision {
    shards: u16,
    signed: Vec<u8>,
}

impl Decision {
    /// Signs: this node may lead this shard.
    pub(crate) fn appoint(
        operator: &Signer,
        status: &Status,
        node: &str,
        shard: ShardId,
    ) -> Result<Self, Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
        let node: NodeId = node.parse().map_err(|error| refused(&error))?;
        let number = status.shards.iter().map(|shard| shard.governance).max().unwrap_or(0) + 1;
        let governance = Governance {
            cluster: status.cluster.parse().map_err(|error| refused(&error))?,
            number,
            time: now(),
            change: Change::Appoint(Appointment { shard, node }),
            operator: operator.operator(),
        };
        let signed =
            SignedGovernance::sign(governance, operator).encode().map_err(|error| refused(&error))?;
        Ok(Self { shards: status.shards.len() as u16, signed })
    }

    /// Brings it into every shard, shard 0 first; every receipt must accept it.
    pub(crate) fn submit(&self, socket: &Path) -> Result<(), Failure> {
        for shard in 0..self.shards {
            let submission = Submission { shard: ShardId(shard), signed: self.signed.clone() };
            let answer = inquire(socket, &Inquiry::Govern(submission));
            let bytes = answer.map_err(|error| Failure::Refused(format!("the appointment: {error}")))?;
            let receipt = Receipt::decode(&bytes).map_err(|error| Failure::Refused(error.to_string()))?;
            if !receipt.is_accepted() {
                return Err(Failure::Refused(format!("the appointment was refused: {:?}", receipt.outcome)));
            }
        }
        Ok(())
    }
}

/// Thirty-two bytes that nobody guesses.
pub(crate) fn random() -> Result<[u8; 32], Failure> {
    use std::io::Read;
    let mut secret = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut secret))
        .map_err(Failure::io("reading random bytes"))?;
    Ok(secret)
}

fn write_key(dir: &Path, secret: &[u8; 32]) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::create_dir_all(dir)?;
    let options =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("node.key"));
    options?.write_all(format!("{}\n", Hash(*secret)).as_bytes())
}

fn now() -> Nanos {
    Nanos(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64))
}

/// A node that serves answers within a turn of its housekeeping.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The same keys on the same shards in every run.
const HASH_SEED: [u8; 16] = *b"latency-probe...";
