//! `io_oi peer`: who belongs to the cluster, and how that changes.

use std::path::Path;

use io_oi_client::Inquiry;
use io_oi_record::NodeId;
use io_oi_record::governance::Change;
use serde_json::{Value, json};

use crate::args::cluster::{Operator, Peer as Verb};
use crate::bytes::escaped;
use crate::failure::Failure;
use crate::governance::{decide, say};
use crate::output::{Output, duration, table};
use crate::view::{Peers, View, short};

/// One of the verbs.
pub(crate) fn peer(output: Output, socket: &Path, verb: &Verb) -> Result<(), Failure> {
    let view = View::at(socket);
    match verb {
        Verb::List => list(output, &view),
        Verb::Add(add) => {
            let member = add.member.clone();
            let what = format!("{} follows from now on", escaped(member.name.as_bytes()));
            change(output, &view, &add.operator, &Change::AddLearner(member), &what)
        }
        Verb::Promote(promote) => {
            let (node, name) = find(&view, &promote.node)?;
            change(
                output,
                &view,
                &promote.operator,
                &Change::Promote(node),
                &format!("{name} is a voter from now on"),
            )
        }
        Verb::Remove(remove) => {
            let (node, name) = find(&view, &remove.node)?;
            change(
                output,
                &view,
                &remove.operator,
                &Change::Remove(node),
                &format!("{name} is out from now on"),
            )
        }
    }
}

/// The key and the name of a member.
pub(crate) fn find(view: &View, wanted: &str) -> Result<(NodeId, String), Failure> {
    let peers = view.peers()?;
    let peer = peers.find(wanted)?;
    Ok((peer.node.parse().map_err(Failure::other)?, escaped(peer.name.as_bytes())))
}

fn change(
    output: Output,
    view: &View,
    operator: &Operator,
    change: &Change,
    what: &str,
) -> Result<(), Failure> {
    let decided = decide(view, operator, change)?;
    say(output, what, &decided, serde_json::Map::new())
}

fn list(output: Output, view: &View) -> Result<(), Failure> {
    if output.is_json() {
        return output.result(view.object(&Inquiry::Peers)?, String::new);
    }
    let (peers, leaders) = (view.peers()?, view.leaders()?);
    let leads = |node: &str| {
        let shards = leaders.shards.iter().filter(|shard| shard.leader.as_deref() == Some(node));
        shards.map(|shard| shard.shard.to_string()).collect::<Vec<_>>().join(" ")
    };
    let tip = |shard: u16| leaders.shards.iter().find(|row| row.shard == shard).map_or(0, |row| row.tip);
    let mut rows =
        vec![["name", "role", "leads", "behind", "round trip", "address", "key"].map(str::to_owned).to_vec()];
    for peer in &peers.members {
        let role = match (peer.is_barred, peer.is_voter) {
            (true, _) => "barred",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let behind: Vec<String> = peer
            .shards
            .iter()
            .map(|shard| match (shard.is_connected || peer.is_self, shard.is_level) {
                (false, _) => "away".to_owned(),
                (true, true) => "level".to_owned(),
                (true, false) => tip(shard.shard).saturating_sub(shard.durable).to_string(),
            })
            .collect();
        let trips = peer.shards.iter().filter_map(|shard| shard.rtt_ns);
        rows.push(vec![
            escaped(peer.name.as_bytes()) + if peer.is_self { " (asked)" } else { "" },
            role.to_owned(),
            leads(&peer.node),
            behind.join(" "),
            trips.max().map_or_else(String::new, duration),
            escaped(peer.address.as_bytes()),
            short(&peer.node),
        ]);
    }
    output.result(json_of(&peers), || table(&rows))
}

fn json_of(peers: &Peers) -> serde_json::Map<String, Value> {
    let Value::Object(object) = json!({"members": peers.members.len()}) else {
        unreachable!("json! of an object is an object")
    };
    object
}
