//! Questions that need no session: asked of every shard, put together here, told packet by packet.
//!
//! Invariant: whoever asks has a deadline, and nobody waits for whoever does not listen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use io_oi_record::attach::{Answer, AttachRefusal, Inquiry};
use io_oi_record::evidence::{Proof, SignedEvidence};
use io_oi_record::{ControlMode, Hash, NodeId, Sequence, ShardId};
use io_oi_shm::{HashSeed, hash_key, hot, shard_of};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::sessions::Stage;
use super::{House, Housekeeping, socket};
use crate::mail::{ClientId, Order};
use crate::shard::{Answered, Question, ShardState, versions};

/// One question on its way.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) until: Instant,
    /// What was asked for may come to be: then it is asked for again.
    pub(super) again_at: Option<Instant>,
    inquiry: Inquiry,
    /// By shard; one that is not asked has nothing to say.
    heard: Vec<Heard>,
}

#[derive(Debug)]
enum Heard {
    Nothing,
    Waiting,
    Answer(Answered),
}

impl Asking {
    /// What is told when the time is over.
    pub(super) fn overdue(&self) -> AttachRefusal {
        match self.inquiry {
            Inquiry::Prove(_) => AttachRefusal::NotProvable,
            Inquiry::Govern(_) => AttachRefusal::Undecided,
            _ => AttachRefusal::NotReady,
        }
    }

    fn is_complete(&self) -> bool {
        !self.heard.iter().any(|heard| matches!(heard, Heard::Waiting))
    }

    fn states(&self) -> impl Iterator<Item = (usize, &ShardState)> {
        self.heard.iter().enumerate().filter_map(|(shard, heard)| match heard {
            Heard::Answer(Answered::State(state)) => Some((shard, &**state)),
            _ => None,
        })
    }

    fn evidence(&self) -> impl Iterator<Item = &(SignedEvidence, bool)> {
        self.heard.iter().flat_map(|heard| match heard {
            Heard::Answer(Answered::Evidence(evidence)) => evidence.as_slice(),
            _ => &[],
        })
    }

    fn refusal(&self) -> Option<AttachRefusal> {
        self.heard.iter().find_map(|heard| match heard {
            Heard::Answer(Answered::Refused(refusal)) => Some(*refusal),
            _ => None,
        })
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.heard.iter().find_map(|heard| match heard {
            Heard::Answer(Answered::Bytes(bytes)) => Some(bytes.as_slice()),
            _ => None,
        })
    }
}

impl Housekeeping {
    pub(super) fn hear_inquiry(&mut self, id: ClientId, packet: &[u8]) {
        let peer = self.clients.get_mut(id).expect("the client is speaking").peer;
        if self.rights_of(peer).is_none() {
            return self.refuse(id, AttachRefusal::UserNotAllowed);
        }
        let inquiry = match Inquiry::decode(packet) {
            Ok(inquiry) => inquiry,
            Err(error) => return self.refuse(id, AttachRefusal::from(&error)),
        };
        let until = Instant::now() + Duration::from_millis(self.house.config.handshake_ms);
        let heard = self.house.orders.iter().map(|_| Heard::Nothing).collect();
        let asking = Asking { until, again_at: None, inquiry, heard };
        self.clients.get_mut(id).expect("found above").stage = Stage::Asking(Box::new(asking));
        self.ask(id);
    }

    /// Puts the question to the shards that it concerns.
    fn ask(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Stage::Asking(asking) = &mut client.stage else { return };
        asking.again_at = None;
        let questions = match questions(&self.house, &asking.inquiry) {
            Ok(questions) => questions,
            Err(refusal) => return self.refuse(id, refusal),
        };
        for (shard, question) in questions {
            asking.heard[shard.index()] = Heard::Waiting;
            self.house.orders[shard.index()].send(Order::Ask { client: id, question });
        }
    }

    pub(super) fn ask_again(&mut self) {
        while let Some(id) = self.clients.next_to_ask_again(Instant::now()) {
            self.ask(id);
        }
    }

    pub(super) fn hear_answer(&mut self, shard: ShardId, id: ClientId, answered: Answered) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Stage::Asking(asking) = &mut client.stage else { return };
        asking.heard[shard.index()] = Heard::Answer(answered);
        if !asking.is_complete() {
            return;
        }
        if asking.refusal() == Some(AttachRefusal::NotProvable) {
            asking.again_at = Some(Instant::now() + ASK_AGAIN_AFTER);
            return;
        }
        match put_together(&self.house, asking) {
            Ok(whole) => self.tell(id, &whole),
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    fn tell(&mut self, id: ClientId, whole: &[u8]) {
        let until = Instant::now() + TELLING_PATIENCE;
        let packets = Answer::split(whole).map(|answer| answer.encode().expect("split keeps the limit"));
        let rest: VecDeque<Vec<u8>> = packets.collect();
        let client = self.clients.get_mut(id).expect("it has asked");
        client.stage = Stage::Told { rest, until };
        self.go_on_telling(id);
    }

    pub(super) fn go_on_telling(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let (Stage::Told { rest, .. }, Some(fd)) = (&mut client.stage, &client.fd) else { return };
        while let Some(packet) = rest.front() {
            match socket::send(fd, packet, &[]) {
                Ok(()) => drop(rest.pop_front()),
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose(id),
            }
        }
        socket::hear_out(fd);
        self.lose(id);
    }
}

/// Which shards are asked what.
fn questions(house: &House, inquiry: &Inquiry) -> Result<Vec<(ShardId, Question)>, AttachRefusal> {
    let every =
        |question: fn() -> Question| house.identity.shards().map(|shard| (shard, question())).collect();
    match inquiry {
        Inquiry::Status | Inquiry::Peers | Inquiry::Leader => Ok(every(|| Question::State)),
        Inquiry::Evidence | Inquiry::EvidenceExport(_) => Ok(every(|| Question::Evidence)),
        Inquiry::Arbitrators => Ok(every(|| Question::Arbitrators)),
        Inquiry::Govern(submission) if submission.shard.index() < house.orders.len() => {
            Ok(vec![(submission.shard, Question::Govern(submission.signed.clone()))])
        }
        Inquiry::Govern(_) => Err(AttachRefusal::NotFound),
        Inquiry::Prove(key) => {
            let (shard, sequence) = newest_committed(house, key)?;
            Ok(vec![(shard, Question::Prove(sequence))])
        }
    }
}

/// Where the newest committed record of a key stands: read from shared memory, as any client would.
fn newest_committed(house: &House, key: &[u8]) -> Result<(ShardId, Sequence), AttachRefusal> {
    let genesis = &house.identity.genesis.genesis;
    let shard = ShardId(shard_of(hash_key(&HashSeed::new(genesis.hash_seed), key), genesis.shards));
    let hot = house.doors[shard.index()].hot.try_clone().map_err(|_| AttachRefusal::ResourcesExhausted)?;
    let reader = hot::Reader::open(hot).map_err(|_| AttachRefusal::ResourcesExhausted)?;
    match reader.get_committed_vec(key, &mut Vec::new()) {
        Ok(Some(found)) => Ok((shard, Sequence(found.stamp.sequence.0))),
        Ok(None) => Err(AttachRefusal::NotFound),
        Err(_) => Err(AttachRefusal::NotReady),
    }
}

fn put_together(house: &House, asking: &Asking) -> Result<Vec<u8>, AttachRefusal> {
    if let Some(refusal) = asking.refusal() {
        return Err(refusal);
    }
    match &asking.inquiry {
        Inquiry::Status => Ok(status(house, asking).to_string().into_bytes()),
        Inquiry::Peers => Ok(peers(house, asking).to_string().into_bytes()),
        Inquiry::Leader => Ok(leader(house, asking).to_string().into_bytes()),
        Inquiry::Evidence => Ok(evidence(asking).to_string().into_bytes()),
        Inquiry::Arbitrators => Ok(arbitrators(house, asking).to_string().into_bytes()),
        Inquiry::EvidenceExport(hash) => export(asking, *hash).ok_or(AttachRefusal::NotFound),
        Inquiry::Prove(_) | Inquiry::Govern(_) => {
            asking.bytes().map(<[u8]>::to_vec).ok_or(AttachRefusal::NotReady)
        }
    }
}

fn status(house: &House, asking: &Asking) -> Value {
    let identity = &house.identity;
    let shards: Vec<Value> = asking.states().map(|(shard, state)| shard_status(shard, state)).collect();
    let states: Vec<&ShardState> = asking.states().map(|(_, state)| state).collect();
    let members = states.first().map_or(&[][..], |state| &state.members);
    let own = members.iter().find(|member| member.peer.node == identity.node);
    json!({
        "node": identity.node.to_string(),
        "name": own.map_or(house.config.name.as_str(), |member| &member.name),
        "cluster": identity.cluster.to_string(),
        "boot": identity.boot,
        "resp": house.resp.map(|address| address.to_string()),
        "shards": shards,
    })
}

fn shard_status(shard: usize, state: &ShardState) -> Value {
    let status = &state.status;
    json!({
        "shard": shard,
        "role": format!("{:?}", status.role).to_lowercase(),
        "epoch": status.epoch.get(),
        "leader": status.leader.map(text),
        "tip": status.tip.get(),
        "committed": status.committed.get(),
        "certified": status.certified.get(),
        "mute": status.mute.map(|reason| reason.to_string()),
        "lease_ns": state.lease_ns,
        "state_hash": { "sequence": status.state_hash.0.get(), "hash": status.state_hash.1.to_string() },
        "evidence": status.evidence_count,
        "governance": status.governance_number,
    })
}

/// Every member once, with what each shard sees of it.
fn peers(house: &House, asking: &Asking) -> Value {
    let mut nodes: Vec<NodeId> = Vec::new();
    for (_, state) in asking.states() {
        for member in &state.members {
            if !nodes.contains(&member.peer.node) {
                nodes.push(member.peer.node);
            }
        }
    }
    let members: Vec<Value> = nodes.iter().filter_map(|node| member(house, asking, *node)).collect();
    json!({ "members": members })
}

fn member(house: &House, asking: &Asking, node: NodeId) -> Option<Value> {
    let seen = || {
        asking.states().filter_map(|(shard, state)| {
            state.members.iter().find(|member| member.peer.node == node).map(|member| (shard, member))
        })
    };
    let (_, first) = seen().next()?;
    let shards: Vec<Value> = seen()
        .map(|(shard, member)| {
            json!({
                "shard": shard,
                "durable": member.peer.durable.get(),
                "is_level": member.peer.is_level,
                "is_connected": member.is_connected,
                "rtt_ns": member.round_trip_ns,
            })
        })
        .collect();
    Some(json!({
        "node": node.to_string(),
        "name": first.name,
        "address": first.address,
        "is_voter": first.peer.is_voter,
        "is_barred": seen().any(|(_, member)| member.is_barred),
        "is_self": node == house.identity.node,
        "shards": shards,
    }))
}

fn leader(house: &House, asking: &Asking) -> Value {
    let control = match house.identity.genesis.genesis.control {
        ControlMode::Strict => "strict",
        ControlMode::Competitive => "competitive",
    };
    let shard = |(shard, state): (usize, &ShardState)| {
        json!({
            "shard": shard,
            "leader": state.status.leader.map(text),
            "epoch": state.status.epoch.get(),
            "appointed": state.appointed.map(text),
            "tip": state.status.tip.get(),
            "committed": state.status.committed.get(),
        })
    };
    json!({ "control": control, "shards": asking.states().map(shard).collect::<Vec<_>>() })
}

fn evidence(asking: &Asking) -> Value {
    let one = |(signed, is_final): &(SignedEvidence, bool)| {
        let evidence = &signed.evidence;
        json!({
            "hash": evidence.hash().to_string(),
            "shard": evidence.shard.get(),
            "accused": evidence.check().ok().map(text),
            "kind": kind(&evidence.proof),
            "reporter": evidence.reporter.to_string(),
            "is_final": is_final,
        })
    };
    json!({ "evidence": asking.evidence().map(one).collect::<Vec<_>>() })
}

fn arbitrators(house: &House, asking: &Asking) -> Value {
    let shards: Vec<&Value> = asking
        .heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Answer(Answered::Arbitrators(state)) => Some(state),
            _ => None,
        })
        .collect();
    json!({
        "node": house.identity.node.to_string(),
        "versions": versions(io_oi_arbitrator::VERSIONS),
        "shards": shards,
    })
}

fn export(asking: &Asking, hash: Hash) -> Option<Vec<u8>> {
    asking.evidence().find(|(signed, _)| signed.evidence.hash() == hash)?.0.encode().ok()
}

fn kind(proof: &Proof) -> &'static str {
    match proof {
        Proof::TwoHeaders(..) => "two-headers",
        Proof::TwoVotes(..) => "two-votes",
        Proof::TwoGrants(..) => "two-grants",
        Proof::WrongVerdict { .. } => "wrong-verdict",
    }
}

fn text(node: NodeId) -> String {
    node.to_string()
}

/// A certificate is a few milliseconds behind its block.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Whoever does not take its answer for so long does not get it.
const TELLING_PATIENCE: Duration = Duration::from_secs(5);
