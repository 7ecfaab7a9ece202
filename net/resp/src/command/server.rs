//! The server as its clients ask about it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Command, Look, Run, all, find, is_word, manual};
use crate::error::CommandError;
use crate::glob;
use crate::request::Arguments;
use crate::store::WriteAnswer;

const NONE: (i16, i16, i16) = (0, 0, 0);
const FAST: &[&str] = &["loading", "stale", "fast"];
const SLOW: &[&str] = &["loading", "stale"];

/// What these commands follow: clients decide by it what they may ask.
pub(crate) const REDIS_VERSION: &str = "7.2.0";

macro_rules! command {
    ($name:literal, $arity:literal, $flags:expr, $since:literal, $complexity:literal, $syntax:literal, $summary:literal, $run:expr) => {
        Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: NONE,
            group: "server",
            since: $since,
            complexity: $complexity,
            summary: $summary,
            syntax: $syntax,
            run: Run::Look($run),
        }
    };
}

pub(super) const COMMANDS: &[Command] = &[
    command!(
        "command",
        -1,
        SLOW,
        "2.8.13",
        "O(N) where N is the total number of commands",
        "[subcommand [argument ...]]",
        "Returns detailed information about all commands.",
        command
    ),
    command!(
        "info",
        -1,
        SLOW,
        "1.0.0",
        "O(1)",
        "[section ...]",
        "Returns information and statistics about the server.",
        info
    ),
    command!(
        "config",
        -2,
        &["admin", "noscript", "loading", "stale"],
        "2.0.0",
        "O(N)",
        "GET parameter [parameter ...]",
        "Returns the effective values of configuration parameters.",
        config
    ),
    command!(
        "dbsize",
        1,
        &["readonly", "fast"],
        "1.0.0",
        "O(1)",
        "",
        "Returns the number of keys in the database.",
        dbsize
    ),
    command!("time", 1, FAST, "2.6.0", "O(1)", "", "Returns the server time.", time),
    command!("lolwut", -1, &["readonly", "fast"], "5.0.0", "O(1)", "", "Displays the version.", lolwut),
];

fn command(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let Some(subcommand) = arguments.get(1) else {
        look.reply.array(all().count());
        all().for_each(|command| manual::describe(command, look.reply));
        return Ok(());
    };
    let is = |word: &str| is_word(subcommand, word);
    if is("COUNT") && arguments.len() == 2 {
        look.reply.integer(all().count() as i64);
    } else if is("LIST") && arguments.len() == 2 {
        look.reply.array(all().count());
        all().for_each(|command| look.reply.text(command.name));
    } else if is("INFO") && arguments.len() == 2 {
        look.reply.array(all().count());
        all().for_each(|command| manual::describe(command, look.reply));
    } else if is("INFO") {
        look.reply.array(arguments.len() - 2);
        for name in arguments.from(2) {
            match find(name) {
                Some(command) => manual::describe(command, look.reply),
                None => look.reply.null_array(),
            }
        }
    } else if is("DOCS") {
        let named: Vec<&Command> = match arguments.len() {
            2 => all().collect(),
            _ => arguments.from(2).filter_map(find).collect(),
        };
        look.reply.map(named.len());
        named.into_iter().for_each(|command| manual::document(command, look.reply));
    } else if is("GETKEYS") && arguments.len() > 2 {
        getkeys(look, arguments)?;
    } else {
        let subcommand = super::cut(subcommand);
        return Err(CommandError::Subcommand { command: "COMMAND", subcommand });
    }
    Ok(())
}

fn getkeys(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let error = |text: &str| CommandError::Other(format!("ERR {text}"));
    let command = find(arguments.at(2)).ok_or_else(|| error("Invalid command specified"))?;
    let count = arguments.len() - 2;
    if !command.has_arity(count) {
        return Err(error("Invalid number of arguments specified for command"));
    }
    let (first, last, step) = command.keys;
    if first == 0 {
        return Err(error("The command has no key arguments"));
    }
    let last = if last < 0 { count as i16 + last } else { last };
    let places: Vec<i16> = (first..=last).step_by(step as usize).collect();
    look.reply.array(places.len());
    places.into_iter().for_each(|place| look.reply.bulk(arguments.at(2 + place as usize)));
    Ok(())
}

fn dbsize(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    let entries = look.store()?.client().hot_entries();
    look.reply.integer(entries as i64);
    Ok(())
}

fn time(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    look.reply.array(2);
    look.reply.text(&now.as_secs().to_string());
    look.reply.text(&now.subsec_micros().to_string());
    Ok(())
}

fn lolwut(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    let text = format!("io_oi {} speaks as Redis ver. {REDIS_VERSION}\n", env!("CARGO_PKG_VERSION"));
    look.reply.verbatim(&text);
    Ok(())
}

fn config(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let subcommand = arguments.at(1);
    if is_word(subcommand, "SET") || is_word(subcommand, "REWRITE") {
        return Err(CommandError::Unsupported("settings are those of the node's configuration file"));
    }
    if !is_word(subcommand, "GET") || arguments.len() < 3 {
        let subcommand = super::cut(subcommand);
        return Err(CommandError::Subcommand { command: "CONFIG", subcommand });
    }
    let settings = settings(look);
    let is_asked = |name: &str| {
        arguments.from(2).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let asked: Vec<&(&str, String)> = settings.iter().filter(|(name, _)| is_asked(name)).collect();
    look.reply.map(asked.len());
    for (name, value) in asked {
        look.reply.text(name);
        look.reply.text(value);
    }
    Ok(())
}

/// What this node does, in Redis's names for it.
fn settings(look: &Look<'_, '_>) -> Vec<(&'static str, String)> {
    let (limits, address) = (look.house.limits(), look.house.address());
    let is_always = look.house.write() == WriteAnswer::Committed;
    vec![
        ("appendfsync", if is_always { "always" } else { "everysec" }.to_owned()),
        ("appendonly", "yes".to_owned()),
        ("bind", address.ip().to_string()),
        ("client-query-buffer-limit", limits.request.request_bytes_max.to_string()),
        ("databases", "1".to_owned()),
        ("maxclients", limits.clients_max.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-clients", limits.memory_bytes_max.to_string()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", address.port().to_string()),
        ("proto-max-bulk-len", limits.request.bulk_bytes_max.to_string()),
        ("protected-mode", "yes".to_owned()),
        ("save", String::new()),
        ("tcp-keepalive", crate::gateway::KEEPALIVE.as_secs().to_string()),
        ("timeout", limits.idle_max.map_or(0, |idle| idle.as_secs()).to_string()),
    ]
}

fn info(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let is_all = arguments.len() == 1
        || arguments
            .from(1)
            .any(|section| ["all", "default", "everything"].iter().any(|word| is_word(section, word)));
    let is_asked = |name: &str| is_all || arguments.from(1).any(|section| is_word(section, name));
    let mut text = String::new();
    for (name, lines) in sections(look) {
        if is_asked(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str(&format!("# {name}\r\n"));
            lines.into_iter().for_each(|(field, value)| text.push_str(&format!("{field}:{value}\r\n")));
        }
    }
    look.reply.verbatim(&text);
    Ok(())
}

type Section = (&'static str, Vec<(&'static str, String)>);

fn sections(look: &mut Look<'_, '_>) -> Vec<Section> {
    let uptime = look.house.uptime().as_secs();
    let address = look.house.address();
    let counts = look.counts;
    let loading = i32::from(look.store.is_none()).to_string();
    let (keys, hot_bytes, node, cluster, shards) = match look.store.as_deref() {
        Some(store) => {
            let client = store.client();
            let named = (client.node().to_string(), client.cluster().to_string());
            (client.hot_entries(), client.hot_bytes(), named.0, named.1, client.shards())
        }
        None => (0, 0, String::new(), String::new(), 0),
    };
    let mut keyspace = Vec::new();
    if keys > 0 {
        keyspace.push(("db0", format!("keys={keys},expires=0,avg_ttl=0")));
    }
    let text = |text: &str| text.to_owned();
    vec![
        (
            "Server",
            vec![
                ("redis_version", text(REDIS_VERSION)),
                ("redis_mode", text("standalone")),
                ("io_oi_version", text(env!("CARGO_PKG_VERSION"))),
                ("os", text("Linux")),
                ("arch_bits", text("64")),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", address.port().to_string()),
                ("uptime_in_seconds", uptime.to_string()),
                ("uptime_in_days", (uptime / 86_400).to_string()),
            ],
        ),
        (
            "Clients",
            vec![
                ("connected_clients", counts.connected.get().to_string()),
                ("maxclients", look.house.limits().clients_max.to_string()),
                ("blocked_clients", text("0")),
                ("tracking_clients", text("0")),
            ],
        ),
        (
            "Memory",
            vec![
                ("used_memory", hot_bytes.to_string()),
                ("maxmemory", text("0")),
                ("maxmemory_policy", text("noeviction")),
                ("mem_clients_normal", counts.buffer_bytes.get().to_string()),
            ],
        ),
        (
            "Persistence",
            vec![("loading", loading), ("aof_enabled", text("1")), ("rdb_bgsave_in_progress", text("0"))],
        ),
        (
            "Stats",
            vec![
                ("total_connections_received", counts.connections.get().to_string()),
                ("total_commands_processed", counts.commands.get().to_string()),
                ("rejected_connections", counts.refused_connections.get().to_string()),
                ("evicted_clients", counts.evicted.get().to_string()),
                ("keyspace_hits", counts.hits.get().to_string()),
                ("keyspace_misses", counts.misses.get().to_string()),
                ("total_error_replies", counts.errors.get().to_string()),
                ("acl_access_denied_auth", counts.refused_passwords.get().to_string()),
            ],
        ),
        ("Replication", vec![("role", text("master")), ("connected_slaves", text("0"))]),
        ("Cluster", vec![("cluster_enabled", text("0"))]),
        ("Keyspace", keyspace),
        ("Io_oi", vec![("node", node), ("cluster", cluster), ("shards", shards.to_string())]),
    ]
}
