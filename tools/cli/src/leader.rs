//! `io_oi leader`: who leads, who may, and the planned hand-over.

use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_client::Inquiry;
use io_oi_record::governance::{Appointment, Change};
use io_oi_record::{NodeId, ShardId};
use serde_json::{Map, Value, json};

use crate::args::cluster::{Leader as Verb, LeaderChange};
use crate::failure::Failure;
use crate::governance::{Decided, decide, say};
use crate::output::{Output, duration, table};
use crate::peer::find;
use crate::view::View;

/// One of the verbs.
pub(crate) fn leader(output: Output, socket: &Path, verb: &Verb) -> Result<(), Failure> {
    let view = View::at(socket);
    match verb {
        Verb::Show => show(output, &view),
        Verb::Appoint(change) => appoint(output, &view, change),
        Verb::Transfer(change) => transfer(output, &view, change),
    }
}

fn show(output: Output, view: &View) -> Result<(), Failure> {
    if output.is_json() {
        return output.result(view.object(&Inquiry::Leader)?, String::new);
    }
    let (leaders, peers) = (view.leaders()?, view.peers()?);
    let name =
        |node: &Option<String>, none: &str| node.as_ref().map_or(none.to_owned(), |node| peers.name_of(node));
    let mut rows =
        vec![["shard", "leader", "epoch", "sequence", "committed", "appointed"].map(str::to_owned).to_vec()];
    rows.extend(leaders.shards.iter().map(|shard| {
        vec![
            shard.shard.to_string(),
            name(&shard.leader, "nobody"),
            shard.epoch.to_string(),
            shard.tip.to_string(),
            shard.committed.to_string(),
            name(&shard.appointed, ""),
        ]
    }));
    let advice = match leaders.shards.iter().any(|shard| shard.leader.is_none()) {
        true if leaders.control == "strict" => {
            "\n\nNobody leads: appoint a node, asking that node itself: io_oi leader appoint NODE --socket ITS_SOCKET"
        }
        true => "\n\nNobody leads now: the voters elect a leader as soon as a quorum of them is there.",
        false => "",
    };
    output.result(Map::new(), || format!("{}\n\ncontrol: {}{advice}", table(&rows), leaders.control))
}

fn appoint(output: Output, view: &View, change: &LeaderChange) -> Result<(), Failure> {
    let (node, name) = find(view, &change.node)?;
    let shards = shards_of(view, change)?;
    check_reachable(view, &node, &name)?;
    for shard in shards {
        let decided = decide_one(view, change, node, shard)?;
        say(output, &format!("{name} may lead shard {shard}"), &decided, fields(shard, None))?;
    }
    Ok(())
}

fn transfer(output: Output, view: &View, change: &LeaderChange) -> Result<(), Failure> {
    let (node, name) = find(view, &change.node)?;
    for shard in shards_of(view, change)? {
        let began = Instant::now();
        let decided = decide_one(view, change, node, shard)?;
        let took = wait_until_it_leads(view, &node, &name, shard, began, change.operator.timeout)?;
        let what = format!("{name} leads shard {shard} after {}", duration(took.as_nanos() as u64));
        say(output, &what, &decided, fields(shard, Some(took)))?;
    }
    Ok(())
}

fn decide_one(view: &View, change: &LeaderChange, node: NodeId, shard: u16) -> Result<Decided, Failure> {
    let appointment = Appointment { shard: ShardId(shard), node };
    decide(view, &change.operator, &Change::Appoint(appointment))
}

fn shards_of(view: &View, change: &LeaderChange) -> Result<Vec<u16>, Failure> {
    let all: Vec<u16> = view.status()?.shards.iter().map(|shard| shard.shard).collect();
    match change.shard {
        None => Ok(all),
        Some(shard) if all.contains(&shard) => Ok(vec![shard]),
        Some(shard) => {
            Err(Failure::Usage { what: format!("there is no shard {shard}: the cluster has {}", all.len()) })
        }
    }
}

/// Where nobody leads, the appointment is the appointed node's authority to stand: it must be the one that is asked.
fn check_reachable(view: &View, node: &NodeId, name: &str) -> Result<(), Failure> {
    let leaderless = view.leaders()?.shards.iter().any(|shard| shard.leader.is_none());
    if leaderless && view.status()?.node != node.to_string() {
        return Err(Failure::with_help(
            "nobody leads, so that an appointment can only be given to the appointed node itself",
            format!("run this on {name}'s box with its socket: --socket PATH"),
        ));
    }
    Ok(())
}

fn wait_until_it_leads(
    view: &View,
    node: &NodeId,
    name: &str,
    shard: u16,
    began: Instant,
    patience: Duration,
) -> Result<Duration, Failure> {
    let wanted = Some(node.to_string());
    loop {
        let leaders = view.leaders()?;
        if leaders.shards.iter().any(|row| row.shard == shard && row.leader == wanted) {
            return Ok(began.elapsed());
        }
        if began.elapsed() >= patience {
            return Err(Failure::with_help(
                format!("{name} does not lead shard {shard}: the leader before it goes on"),
                "a node takes over only when it is level and answers in time: see `io_oi peer list`, then try again",
            ));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn fields(shard: u16, took: Option<Duration>) -> Map<String, Value> {
    let fields = json!({"shard": shard, "leads_after_ns": took.map(|took| took.as_nanos() as u64)});
    let Value::Object(fields) = fields else { unreachable!("json! of an object is an object") };
    fields
}
