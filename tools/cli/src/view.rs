//! What a node says when it is asked: the JSON of its answers, read once into types.
//!
//! Invariant: an answer that lacks what is needed here is an error of its own, never a zero.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use io_oi_client::{Inquiry, inquire_within};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// One node, asked through its socket.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) socket: PathBuf,
}

/// A node and its shards.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) node: String,
    pub(crate) cluster: String,
    /// Where the node serves Redis clients, if it does.
    pub(crate) resp: Option<SocketAddr>,
    pub(crate) shards: Vec<ShardStatus>,
}

/// One shard of one node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardStatus {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) leader: Option<String>,
    pub(crate) tip: u64,
    pub(crate) committed: u64,
    pub(crate) certified: u64,
    pub(crate) mute: Option<String>,
    pub(crate) governance: u64,
}

/// Everybody.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peers {
    pub(crate) members: Vec<Peer>,
}

/// One member.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) is_voter: bool,
    pub(crate) is_barred: bool,
    pub(crate) is_self: bool,
    pub(crate) shards: Vec<PeerShard>,
}

/// One shard of one member, as the asked node knows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PeerShard {
    pub(crate) shard: u16,
    pub(crate) durable: u64,
    pub(crate) is_level: bool,
    pub(crate) is_connected: bool,
    pub(crate) rtt_ns: Option<u64>,
}

/// Who leads.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Leaders {
    pub(crate) control: String,
    pub(crate) shards: Vec<LeaderShard>,
}

/// Who leads one shard.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LeaderShard {
    pub(crate) shard: u16,
    pub(crate) leader: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) appointed: Option<String>,
    pub(crate) tip: u64,
    pub(crate) committed: u64,
}

/// Which lies are known.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EvidenceList {
    pub(crate) evidence: Vec<EvidenceRow>,
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EvidenceRow {
    pub(crate) hash: String,
    pub(crate) shard: u16,
    pub(crate) accused: String,
    pub(crate) kind: String,
    pub(crate) reporter: String,
    pub(crate) is_final: bool,
}

impl View {
    /// Of the node behind this socket.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The bytes of an answer.
    pub(crate) fn ask(&self, inquiry: &Inquiry, patience: Duration) -> Result<Vec<u8>, Failure> {
        inquire_within(&self.socket, inquiry, patience)
            .map_err(|error| Failure::from_inquiry(&self.socket, error))
    }

    /// The node and its shards.
    pub(crate) fn status(&self) -> Result<Status, Failure> {
        self.read(&Inquiry::Status)
    }

    /// Everybody.
    pub(crate) fn peers(&self) -> Result<Peers, Failure> {
        self.read(&Inquiry::Peers)
    }

    /// Who leads.
    pub(crate) fn leaders(&self) -> Result<Leaders, Failure> {
        self.read(&Inquiry::Leader)
    }

    /// Which lies are known.
    pub(crate) fn evidence(&self) -> Result<EvidenceList, Failure> {
        self.read(&Inquiry::Evidence)
    }

    /// An answer as the node gave it, for programs.
    pub(crate) fn object(
        &self,
        inquiry: &Inquiry,
    ) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        self.read(inquiry)
    }

    /// An answer, read into a type.
    pub(crate) fn read<T: DeserializeOwned>(&self, inquiry: &Inquiry) -> Result<T, Failure> {
        let bytes = self.ask(inquiry, PATIENCE)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::with_help(
                format!("the node's answer is not understood: {error}"),
                "use an `io_oi` of the same release as the node",
            )
        })
    }
}

impl Peers {
    /// The member with this name, this key, or the only one whose key begins so.
    pub(crate) fn find(&self, wanted: &str) -> Result<&Peer, Failure> {
        let named = self.members.iter().find(|peer| peer.name == wanted || peer.node == wanted);
        if let Some(peer) = named {
            return Ok(peer);
        }
        let mut beginning =
            self.members.iter().filter(|peer| !wanted.is_empty() && peer.node.starts_with(wanted));
        match (beginning.next(), beginning.next()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => {
                Err(Failure::Usage { what: format!("several keys begin with `{wanted}`: give more of it") })
            }
            (None, _) => Err(Failure::NotFound {
                what: format!("member `{}`", crate::bytes::escaped(wanted.as_bytes())),
                help: "`io_oi peer list` shows names and keys",
            }),
        }
    }

    /// What people call a key; the key's beginning for one that nobody knows.
    pub(crate) fn name_of(&self, node: &str) -> String {
        match self.members.iter().find(|peer| peer.node == node) {
            Some(peer) => crate::bytes::escaped(peer.name.as_bytes()),
            None => short(node),
        }
    }
}

/// Enough of a key or hash to tell it from others.
pub(crate) fn short(key: &str) -> String {
    key.chars().take(12).collect()
}

/// A node that serves answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        let json = r#"{"members":[
            {"node":"ab12","name":"n1","address":"h:1","is_voter":true,"is_barred":false,"is_self":true,"shards":[]},
            {"node":"ab34","name":"n2","address":"h:2","is_voter":false,"is_barred":false,"is_self":false,
             "shards":[{"shard":0,"durable":5,"is_level":true,"is_connected":true,"rtt_ns":null}]}]}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_member_is_found_by_name_key_or_beginning() {
        let peers = peers();
        assert_eq!(peers.find("n2").unwrap().node, "ab34");
        assert_eq!(peers.find("ab12").unwrap().name, "n1");
        assert_eq!(peers.find("ab3").unwrap().name, "n2");
        assert!(matches!(peers.find("ab"), Err(Failure::Usage { .. })));
        for nobody in ["n9", "", "ff"] {
            assert!(matches!(peers.find(nobody), Err(Failure::NotFound { .. })));
        }
        assert_eq!((peers.name_of("ab34").as_str(), peers.name_of("cd").as_str()), ("n2", "cd"));
    }
}
