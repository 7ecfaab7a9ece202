//! What `io_oi dev` shows while it runs: who leads, and how far everybody is.

use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::output::table;
use crate::view::{ShardStatus, Status, View};

/// Every node as it says itself; `None` for one that does not answer.
pub(crate) struct Board {
    nodes: Vec<(String, Option<Status>)>,
}

impl Board {
    /// Looks at everybody.
    pub(crate) fn look(fleet: &Fleet) -> Self {
        let nodes = fleet.vessels.iter().map(|vessel| {
            let status = vessel.running.as_ref().and_then(|_| View::at(&vessel.node.socket).status().ok());
            (vessel.name.clone(), status)
        });
        Self { nodes: nodes.collect() }
    }

    /// Shard, leader's name and epoch, for every shard that is led: by the word of the node that leads it.
    pub(crate) fn leaders(&self) -> Vec<(u16, String, u64)> {
        let mut leaders: Vec<(u16, String, u64)> = Vec::new();
        for (name, status) in &self.nodes {
            let Some(status) = status else { continue };
            let leads = |shard: &&ShardStatus| shard.leader.as_deref() == Some(&status.node);
            leaders.extend(
                status.shards.iter().filter(leads).map(|shard| (shard.shard, name.clone(), shard.epoch)),
            );
        }
        leaders.sort();
        leaders
    }

    /// One line per node and shard.
    pub(crate) fn text(&self) -> String {
        let mut rows = vec![
            ["node", "shard", "role", "epoch", "sequence", "committed", "lag"].map(str::to_owned).to_vec(),
        ];
        for (name, status) in &self.nodes {
            match status {
                None => rows.push(vec![name.clone(), String::new(), "away".to_owned()]),
                Some(status) => rows.extend(status.shards.iter().map(|shard| self.row(name, status, shard))),
            }
        }
        table(&rows)
    }

    /// For the line that moves on a terminal.
    pub(crate) fn line(&self) -> String {
        let one = |(shard, name, epoch): (u16, String, u64)| {
            let tip = self.tip(shard);
            let others = self.nodes.iter().filter(|(other, _)| *other != name);
            let lags = others.map(|(other, status)| match shard_of(status.as_ref(), shard) {
                Some(row) => format!("{other} {}", tip.saturating_sub(row.committed)),
                None => format!("{other} away"),
            });
            format!(
                "shard {shard}: {name} leads, epoch {epoch}, sequence {tip}, lag {}",
                lags.collect::<Vec<_>>().join(" ")
            )
        };
        match self.leaders() {
            leaders if leaders.is_empty() => "nobody leads".to_owned(),
            leaders => leaders.into_iter().map(one).collect::<Vec<_>>().join(" | "),
        }
    }

    /// For programs.
    pub(crate) fn values(&self) -> Vec<Value> {
        let leaders = self.leaders();
        leaders
            .iter()
            .map(|(shard, name, epoch)| json!({"shard": shard, "leader": name, "epoch": epoch}))
            .collect()
    }

    fn row(&self, name: &str, status: &Status, shard: &ShardStatus) -> Vec<String> {
        let role = match (&shard.mute, shard.leader.as_deref() == Some(&status.node)) {
            (Some(_), _) => "mute",
            (None, true) => "leader",
            (None, false) => "follower",
        };
        let lag = self.tip(shard.shard).saturating_sub(shard.committed);
        let cells = [shard.epoch, shard.tip, shard.committed, lag].map(|cell| cell.to_string());
        [name.to_owned(), shard.shard.to_string(), role.to_owned()].into_iter().chain(cells).collect()
    }

    /// The highest sequence that anybody has.
    fn tip(&self, shard: u16) -> u64 {
        self.nodes
            .iter()
            .filter_map(|(_, status)| Some(shard_of(status.as_ref(), shard)?.tip))
            .max()
            .unwrap_or(0)
    }
}

fn shard_of(status: Option<&Status>, shard: u16) -> Option<&ShardStatus> {
    status?.shards.iter().find(|row| row.shard == shard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(node: &str, leader: &str, committed: u64) -> Option<Status> {
        let shard = json!({"shard": 0, "epoch": 3, "leader": leader, "tip": committed, "committed": committed, "certified": committed,
            "mute": null, "governance": 0});
        serde_json::from_value(json!({"node": node, "cluster": "c", "shards": [shard]})).unwrap()
    }

    #[test]
    fn the_leader_and_the_lag_of_the_others_are_shown() {
        let nodes = vec![
            ("n1".to_owned(), status("a", "b", 7)),
            ("n2".to_owned(), status("b", "b", 9)),
            ("n3".to_owned(), None),
        ];
        let board = Board { nodes };
        assert_eq!(board.leaders(), [(0, "n2".to_owned(), 3)]);
        assert_eq!(board.line(), "shard 0: n2 leads, epoch 3, sequence 9, lag n1 2 n3 away");
        assert!(
            board.text().lines().any(|line| line.starts_with("n2") && line.contains("leader")),
            "{}",
            board.text()
        );
        assert!(board.text().lines().any(|line| line.starts_with("n3") && line.ends_with("away")));
    }
}
