//! `io_oi status`: the node and its counters, read from shared memory.

use std::collections::BTreeSet;

use io_oi_client::{Client, ShardId};
use serde_json::{Map, Value, json};

use crate::args::Status;
use crate::failure::Failure;
use crate::output::{Output, duration, table};

/// Prints one object, or two tables.
pub(crate) fn status(client: &mut Client, output: Output, status: &Status) -> Result<(), Failure> {
    client.tend();
    let mut object = node_object(client);
    let mut text = node_text(client);
    if !status.brief {
        let shards: Vec<Value> =
            (0..client.shards()).map(|shard| shard_object(client, ShardId(shard))).collect();
        object.insert("shard".to_owned(), shards.into());
        text.push_str("\n\n");
        text.push_str(&counters_text(client));
    }
    output.result(object, || text)
}

fn node_object(client: &Client) -> Map<String, Value> {
    let prefixes: Vec<String> =
        client.prefixes().iter().map(|prefix| crate::bytes::escaped(prefix)).collect();
    let object = json!({
        "cluster": client.cluster().to_string(),
        "node": client.node().to_string(),
        "socket": client.socket_path().display().to_string(),
        "incarnation": client.incarnation(),
        "shards": client.shards(),
        "attached": client.is_attached(),
        "silent_ns": client.staleness().map(|silent| silent.as_nanos() as u64),
        "prefixes": prefixes,
    });
    let Value::Object(object) = object else { unreachable!("json! of an object is an object") };
    object
}

fn shard_object(client: &Client, shard: ShardId) -> Value {
    let counters: Map<String, Value> =
        client.counters(shard).map(|(label, value)| (label.to_owned(), value.into())).collect();
    let refused: Map<String, Value> = judge_refusals(client, shard)
        .into_iter()
        .map(|(code, count)| (code.to_string(), count.into()))
        .collect();
    json!({"shard": shard.get(), "parked": client.is_parked(shard), "refused_by_code": refused,
        "counters": counters})
}

/// What judges refused, by the code that receipts carried; a node counts the first codes that it meets one by one.
fn judge_refusals(client: &Client, shard: ShardId) -> Vec<(u64, u64)> {
    let counters: Vec<(&str, u64)> = client.counters(shard).collect();
    let value = |wanted: &str| counters.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value);
    let rows = (0..).map_while(|row| {
        let code = value(&format!("{JUDGE_CODE_LABEL}{row}"))?;
        Some((code, value(&format!("{JUDGE_CODE_LABEL}{row}_refusals"))?))
    });
    let mut rows: Vec<(u64, u64)> = rows.filter(|(_, count)| *count > 0).collect();
    rows.sort_unstable();
    rows
}

fn node_text(client: &Client) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let silent = client.staleness().map_or("no sign of life yet".to_owned(), |silent| {
        format!("{} ago", duration(silent.as_nanos() as u64))
    });
    let prefixes: Vec<String> =
        client.prefixes().iter().map(|prefix| crate::bytes::escaped(prefix)).collect();
    table(&[
        row("socket", client.socket_path().display().to_string()),
        row("cluster", client.cluster().to_string()),
        row("node", client.node().to_string()),
        row("shards", client.shards().to_string()),
        row("sign of life", silent),
        row(
            "may write",
            if client.may_write_every_key() { "every key".to_owned() } else { prefixes.join(" ") },
        ),
    ])
}

/// One line per counter, one column per shard.
fn counters_text(client: &Client) -> String {
    let shards: Vec<ShardId> = (0..client.shards()).map(ShardId).collect();
    let mut rows = vec![vec!["counter".to_owned()]];
    rows[0].extend(shards.iter().map(|shard| format!("shard {shard}")));
    let is_code = |label: &str| label.starts_with(JUDGE_CODE_LABEL);
    let labels = client.counters(ShardId(0)).map(|(label, _)| label.to_owned());
    let labels: Vec<String> = labels.filter(|label| !is_code(label)).collect();
    for label in labels {
        let mut row = vec![crate::bytes::escaped(label.as_bytes())];
        for shard in &shards {
            let value = client.counters(*shard).find(|(found, _)| *found == label).map(|(_, value)| value);
            row.push(value.map_or_else(String::new, |value| value.to_string()));
        }
        rows.push(row);
    }
    let refused: Vec<Vec<(u64, u64)>> = shards.iter().map(|shard| judge_refusals(client, *shard)).collect();
    let codes: BTreeSet<u64> = refused.iter().flatten().map(|(code, _)| *code).collect();
    for code in codes {
        let counts = refused.iter().map(|rows| {
            rows.iter().find(|(known, _)| *known == code).map_or(0, |(_, count)| *count).to_string()
        });
        rows.push([format!("refused by a judge as {code}")].into_iter().chain(counts).collect());
    }
    table(&rows)
}

/// Rows of the codes that judges refused with, two counters each.
const JUDGE_CODE_LABEL: &str = "judge_code_";
