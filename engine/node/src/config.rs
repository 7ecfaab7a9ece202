//! The node's settings: defaults, then the file, then the environment, then overrides.
//!
//! Invariant: an unknown key or a value out of bounds is refused with the key's name; nothing is guessed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use io_oi_record::limits::{BLOCK_BYTES_MAX, PREFIX_BYTES_MAX, PREFIXES_MAX, SHARDS_MAX};
use serde::Deserialize;
use toml::{Table, Value};

use crate::resp::RespConfig;

/// The sample configuration, every setting explained; also the text behind `node config`.
pub const SAMPLE: &str = include_str!("../node.toml");

/// Everything an operator can choose. Made by [`Config::load`], or in code from [`Config::in_dir`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the node keeps its key, genesis, logs and socket.
    pub dir: PathBuf,
    /// The attach socket; `DIR/io_oi.sock` when absent.
    pub socket: Option<PathBuf>,
    /// The name written into a new genesis.
    pub name: String,
    /// Shards of a new cluster; must match the genesis when one exists. 1 when absent.
    pub shards: Option<u16>,
    /// Where shard 0 listens for the other nodes (UDP); shard *i* takes the port *i* above. The genesis' own address when
    /// absent; a cluster of one that names none does not listen.
    pub listen: Option<SocketAddr>,
    /// How much of what a leader decided this node judges again.
    pub verify: VerifySetting,
    /// Times of elections and hand-overs.
    pub consensus: ConsensusConfig,
    /// What a shard does when there is nothing to do.
    pub idle: IdleSetting,
    /// How long a shard is idle before it parks, in microseconds (idle = park).
    pub park_after_us: u64,
    /// CPUs to pin the shards to, in shard order; chosen by the node when absent.
    pub cores: Option<Vec<usize>>,
    /// How long a client may take for its handshake, in milliseconds.
    pub handshake_ms: u64,
    /// How long a session whose client is gone is kept for it to come back, in seconds; then it is closed.
    pub resume_s: u64,
    /// The log filter of the binary, in the syntax of `RUST_LOG`.
    pub log: String,
    /// The hot tier of each shard.
    pub hot: HotConfig,
    /// The log of each shard.
    pub wal: WalConfig,
    /// The rings of each client.
    pub lane: LaneConfig,
    /// The gateway for Redis clients.
    pub resp: RespConfig,
    /// Who may attach besides the node's own user and root.
    pub clients: Vec<ClientRule>,
}

/// Bounds of one shard's hot tier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HotConfig {
    /// Keys the hot tier can hold.
    pub entries_max: u64,
    /// Bytes for values that do not fit inline.
    pub large_bytes_max: u64,
    /// Bytes of the ring of committed records that subscribers read.
    pub feed_bytes: u64,
}

/// The log of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalConfig {
    /// Bytes of one preallocated segment file.
    pub segment_bytes: u64,
    /// How an append is made durable.
    pub strategy: WalStrategy,
    /// Proposals are refused (disk full) while less log room than this is guaranteed.
    pub reserve_bytes: u64,
    /// A log that is damaged in its middle is continued from its whole prefix, the rest is fetched from the other voters.
    /// Only in clusters of several: alone, a damaged log is refused.
    pub repair: bool,
}

/// Times of elections and hand-overs; about the same on all nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusConfig {
    /// A leader with nothing to say shows this often that it lives.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a voter stands itself; while a leader was heard within it, none is voted for.
    pub election_ms_min: u64,
    /// The longest: each voter waits for a random time between the two.
    pub election_ms_max: u64,
    /// A planned hand-over that has not come about by then is given up, and the old leader goes on.
    pub hand_over_ms: u64,
    /// With `verify = "sampled"`: one record in so many is judged again.
    pub sampled_one_in: u32,
}

/// How much of what a leader decided is judged again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifySetting {
    /// Every record.
    #[default]
    All,
    /// One in `consensus.sampled_one_in`.
    Sampled,
    /// None.
    Off,
}

/// The rings of one client in one shard.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaneConfig {
    /// Bytes of the ring of proposals.
    pub proposal_bytes: u64,
}

/// One user who may attach.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientRule {
    /// The user id, as the kernel reports it.
    pub uid: u32,
    /// Key prefixes this user may write; all keys when empty.
    #[serde(default)]
    pub prefixes: Vec<String>,
}

/// What a shard does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleSetting {
    /// Spin where every shard has a core to itself and one is left over, else park.
    #[default]
    Auto,
    /// Poll without a pause: lowest latency, needs a core of its own.
    Spin,
    /// Poll, and give the core away between two polls.
    Yield,
    /// Like yield, and sleep after `park_after_us` without work.
    Park,
}

/// How an append is made durable; see the log's own page for the measurements behind `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalStrategy {
    /// Measured at boot, chosen by the tail.
    #[default]
    Auto,
    /// One write linked to one flush.
    Linked,
    /// Writes that are durable by themselves.
    Fua,
    /// A flush thread beside the shard.
    Thread,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("io_oi"),
            socket: None,
            name: "node".to_owned(),
            shards: None,
            listen: None,
            verify: VerifySetting::All,
            consensus: ConsensusConfig::default(),
            idle: IdleSetting::Auto,
            park_after_us: 1_000,
            cores: None,
            handshake_ms: 2_000,
            resume_s: 600,
            log: "info".to_owned(),
            hot: HotConfig::default(),
            wal: WalConfig::default(),
            lane: LaneConfig::default(),
            resp: RespConfig::default(),
            clients: Vec::new(),
        }
    }
}

impl Default for HotConfig {
    fn default() -> Self {
        Self { entries_max: 1 << 20, large_bytes_max: 256 << 20, feed_bytes: 8 << 20 }
    }
}

impl Default for WalConfig {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, strategy: WalStrategy::Auto, reserve_bytes: 4 << 20, repair: true }
    }
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 20,
            election_ms_min: 120,
            election_ms_max: 240,
            hand_over_ms: 50,
            sampled_one_in: 16,
        }
    }
}

impl ConsensusConfig {
    /// The key that is out of bounds, and the bounds.
    fn broken_bounds(&self) -> Option<(&'static str, String)> {
        let Self { heartbeat_ms, election_ms_min, election_ms_max, hand_over_ms, sampled_one_in } = *self;
        let shortest = heartbeat_ms.saturating_mul(HEARTBEATS_PER_ELECTION);
        let broken = [
            ("consensus.heartbeat_ms", (1..=10_000).contains(&heartbeat_ms), "1 to 10000".to_owned()),
            (
                "consensus.election_ms_min",
                (shortest..=60_000).contains(&election_ms_min),
                format!("{HEARTBEATS_PER_ELECTION} heartbeats ({shortest}) to 60000"),
            ),
            (
                "consensus.election_ms_max",
                election_ms_max > election_ms_min && election_ms_max <= 120_000,
                "above consensus.election_ms_min, at most 120000".to_owned(),
            ),
            ("consensus.hand_over_ms", (1..=10_000).contains(&hand_over_ms), "1 to 10000".to_owned()),
            ("consensus.sampled_one_in", sampled_one_in >= 1, "1 or more".to_owned()),
        ];
        broken.into_iter().find(|(_, ok, _)| !ok).map(|(key, _, text)| (key, text))
    }
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self { proposal_bytes: 1 << 20 }
    }
}

impl Config {
    /// The defaults, in the given directory.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..Self::default() }
    }

    /// Layers the file (if any), the `IO_OI_*` variables of this process and `key=value` overrides over the defaults.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong kind or out of bounds.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?,
        };
        let origin = file.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
        Self::layered(&origin, &text, std::env::vars(), overrides)
    }

    /// As [`Config::load`], from texts.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn layered(
        origin: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &[String],
    ) -> Result<Self, ConfigError> {
        // On its own first: only so do the messages carry line and column.
        toml::from_str::<Config>(text)
            .map_err(|error| ConfigError::File { origin: origin.to_owned(), text: error.to_string() })?;
        let mut table: Table = text.parse().expect("the text was parsed a moment ago");
        for (name, value) in environment {
            if let Some(key) = key_of_variable(&name) {
                set(&mut table, key, &value).map_err(|text| ConfigError::Setting { origin: name, text })?;
            }
        }
        for setting in overrides {
            let named = |text: String| ConfigError::Setting { origin: setting.clone(), text };
            let (key, value) = setting.split_once('=').ok_or_else(|| named("write key=value".to_owned()))?;
            let key = SETTINGS
                .iter()
                .find(|known| **known == key.trim())
                .ok_or_else(|| named(format!("unknown key; known keys: {}", SETTINGS.join(", "))))?;
            set(&mut table, key, value.trim()).map_err(named)?;
        }
        let config: Config = table.try_into().map_err(|error: toml::de::Error| ConfigError::Setting {
            origin: "environment or command line".to_owned(),
            text: error.message().to_owned(),
        })?;
        config.check()?;
        Ok(config)
    }

    /// What a new node's idle shards do with these settings on this machine: `spin`, `yield` or `park`.
    pub fn idle_here(&self) -> &'static str {
        let shards = self.shards.unwrap_or(1);
        crate::idle::Placement::of(self, usize::from(shards)).idle.name()
    }

    /// Refuses values that no node can work with.
    ///
    /// # Errors
    /// Names the key and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = |key: &'static str, ok: bool, bounds: String| {
            if ok { Ok(()) } else { Err(ConfigError::Bounds { key, bounds }) }
        };
        let shards_max = SHARDS_MAX as u16;
        let block_bytes = BLOCK_BYTES_MAX as u64;
        bounds("dir", !self.dir.as_os_str().is_empty(), "must not be empty".to_owned())?;
        bounds("name", !self.name.is_empty() && self.name.len() <= 64, "1 to 64 bytes".to_owned())?;
        let shards = self.shards.unwrap_or(1);
        bounds("shards", (1..=shards_max).contains(&shards), format!("1 to {shards_max}"))?;
        bounds("handshake_ms", (1..=60_000).contains(&self.handshake_ms), "1 to 60000".to_owned())?;
        bounds("resume_s", (1..=604_800).contains(&self.resume_s), "1 to 604800 (a week)".to_owned())?;
        bounds(
            "park_after_us",
            self.park_after_us <= 10_000_000,
            "at most 10000000 (ten seconds)".to_owned(),
        )?;
        bounds(
            "hot.entries_max",
            (1..=1 << 32).contains(&self.hot.entries_max),
            "1 to 4294967296".to_owned(),
        )?;
        let is_feed = self.hot.feed_bytes.is_power_of_two() && self.hot.feed_bytes >= 4 * block_bytes;
        bounds("hot.feed_bytes", is_feed, format!("a power of two, at least {}", 4 * block_bytes))?;
        let segment_min = 8 * block_bytes;
        let is_segment = self.wal.segment_bytes >= segment_min && self.wal.segment_bytes.is_multiple_of(4096);
        bounds("wal.segment_bytes", is_segment, format!("a multiple of 4096, at least {segment_min}"))?;
        let reserve = 4 * block_bytes..=self.wal.segment_bytes / 2;
        let text = format!("{} to half of wal.segment_bytes ({})", reserve.start(), reserve.end());
        bounds("wal.reserve_bytes", reserve.contains(&self.wal.reserve_bytes), text)?;
        let ring = self.lane.proposal_bytes;
        let is_ring = ring.is_power_of_two() && (256 * 1024..=64 << 20).contains(&ring);
        bounds("lane.proposal_bytes", is_ring, "a power of two from 262144 to 67108864".to_owned())?;
        for rule in &self.clients {
            let of_user = self.clients.iter().filter(|other| other.uid == rule.uid);
            let count: usize = of_user.map(|other| other.prefixes.len()).sum();
            let is_short = rule.prefixes.iter().all(|prefix| prefix.len() <= PREFIX_BYTES_MAX);
            let text = format!("at most {PREFIXES_MAX} prefixes of {PREFIX_BYTES_MAX} bytes for each user");
            bounds("clients", count <= PREFIXES_MAX && is_short, text)?;
        }
        if let Some(listen) = self.listen {
            let is_usable = listen.port() != 0 && listen.port().checked_add(shards - 1).is_some();
            bounds("listen", is_usable, format!("a port from 1 with room for {shards} shards above it"))?;
        }
        if let Some((key, text)) = self.consensus.broken_bounds() {
            bounds(key, false, text)?;
        }
        if let Some((key, text)) = self.resp.broken_bounds() {
            bounds(key, false, text.to_owned())?;
        }
        if let Some(cores) = &self.cores {
            let enough = cores.len() >= usize::from(shards);
            bounds("cores", enough, format!("one CPU number for each of the {shards} shards"))?;
        }
        Ok(())
    }

    /// The attach socket's path.
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.dir.join("io_oi.sock"))
    }
}

/// `IO_OI_*` variables that set nothing, most likely misspelt: the binary warns about them.
pub fn unknown_variables(environment: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let names = environment.into_iter().map(|(name, _)| name);
    let is_known = |name: &str| {
        key_of_variable(name).is_some() || (cfg!(feature = "planted") && name == "IO_OI_PLANTED")
    };
    names.filter(|name| name.starts_with(VARIABLE_PREFIX) && !is_known(name)).collect()
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {error}. Check the path and its permissions.")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not the TOML that a node understands.
    #[error("{origin} is not a valid configuration:\n{text}\nThe commented sample lists every key.")]
    File {
        /// The file.
        origin: String,
        /// Where and what.
        text: String,
    },
    /// A variable or an override is not understood.
    #[error("setting `{origin}`: {text}")]
    Setting {
        /// The variable or override.
        origin: String,
        /// What is wrong.
        text: String,
    },
    /// A value is out of its bounds.
    #[error("setting `{key}` is out of bounds: {bounds}")]
    Bounds {
        /// The key.
        key: &'static str,
        /// The bounds.
        bounds: String,
    },
}

/// Settings that one word can hold: each has a variable (`hot.entries_max` is `IO_OI_HOT_ENTRIES_MAX`).
const SETTINGS: [&str; 34] = [
    "dir",
    "socket",
    "name",
    "shards",
    "listen",
    "verify",
    "idle",
    "park_after_us",
    "cores",
    "handshake_ms",
    "resume_s",
    "log",
    "hot.entries_max",
    "hot.large_bytes_max",
    "hot.feed_bytes",
    "wal.segment_bytes",
    "wal.strategy",
    "wal.reserve_bytes",
    "wal.repair",
    "consensus.heartbeat_ms",
    "consensus.election_ms_min",
    "consensus.election_ms_max",
    "consensus.hand_over_ms",
    "consensus.sampled_one_in",
    "lane.proposal_bytes",
    "resp.address",
    "resp.ports_tried",
    "resp.write",
    "resp.password",
    "resp.clients_max",
    "resp.output_bytes_max",
    "resp.memory_bytes_max",
    "resp.idle_s",
    "clients",
];

/// A follower must be able to miss two heartbeats without standing itself.
const HEARTBEATS_PER_ELECTION: u64 = 3;

const VARIABLE_PREFIX: &str = "IO_OI_";

fn key_of_variable(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(VARIABLE_PREFIX)?;
    SETTINGS.iter().copied().find(|key| key.replace('.', "_").to_uppercase() == name)
}

/// Words stay words for keys that hold text; everything else is read as TOML (`[0, 1]`, `65_536`).
fn set(table: &mut Table, key: &'static str, value: &str) -> Result<(), String> {
    const TEXTS: [&str; 11] = [
        "dir",
        "socket",
        "name",
        "listen",
        "verify",
        "idle",
        "log",
        "wal.strategy",
        "resp.address",
        "resp.write",
        "resp.password",
    ];
    let value = if TEXTS.contains(&key) {
        Value::String(value.to_owned())
    } else {
        let wrapped = format!("value = {value}");
        let mut parsed: Table = wrapped.parse().map_err(|_| format!("`{value}` is not a value for {key}"))?;
        parsed.remove("value").ok_or_else(|| format!("`{value}` is not a value for {key}"))?
    };
    let (section, name) = key.split_once('.').map_or((None, key), |(section, name)| (Some(section), name));
    let table = match section {
        None => table,
        Some(section) => table
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{section}` must be a table"))?,
    };
    table.insert(name.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(text: &str, environment: &[(&str, &str)], overrides: &[&str]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Config::layered("node.toml", text, environment, &overrides)
    }

    #[test]
    fn the_sample_shows_exactly_the_defaults() {
        assert_eq!(layered(SAMPLE, &[], &[]).unwrap(), Config::default());
        let is_setting = |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key[2..].contains(' '));
        let has_default = |line: &&str| {
            !["# socket", "# shards", "# listen", "# cores", "# address", "# password", "# uid", "# prefixes"]
                .iter()
                .any(|key| line.starts_with(key))
        };
        let shown: Vec<&str> = SAMPLE
            .lines()
            .filter(|line| {
                line.starts_with('[') || (line.starts_with("# ") && is_setting(line) && has_default(line))
            })
            .map(|line| line.trim_start_matches("# "))
            .collect();
        assert_eq!(shown.len(), 5 + 8 + 3 + 4 + 5 + 1 + 6, "{shown:?}");
        assert_eq!(layered(&shown.join("\n"), &[], &[]).unwrap(), Config::default());
    }

    #[test]
    fn the_sample_mentions_every_setting() {
        for key in SETTINGS {
            let name = key.rsplit('.').next().unwrap();
            assert!(SAMPLE.contains(name), "{key} is not in node.toml");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_name_and_line() {
        let error = layered("idle = \"park\"\nshard = 2\n", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("unknown field `shard`") && error.contains("line 2"), "{error}");
        let error = layered("[hot]\nentries = 2\n", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("entries_max"), "{error}");
        let error = layered("", &[], &["hott.entries_max=1"]).unwrap_err().to_string();
        assert!(error.contains("hot.entries_max"), "{error}");
    }

    #[test]
    fn later_layers_win() {
        let text = "shards = 2\n[hot]\nentries_max = 10\n";
        let config =
            layered(text, &[("IO_OI_HOT_ENTRIES_MAX", "20"), ("IO_OI_DIR", "/x")], &["shards=3"]).unwrap();
        assert_eq!((config.shards, config.hot.entries_max), (Some(3), 20));
        assert_eq!(config.dir, Path::new("/x"));
        assert_eq!(config.socket_path(), Path::new("/x/io_oi.sock"));
    }

    #[test]
    fn lists_are_read_from_one_word() {
        let config =
            layered("", &[("IO_OI_CORES", "[1, 0]")], &["clients=[{uid = 7, prefixes = [\"a/\"]}]"]).unwrap();
        assert_eq!(config.cores, Some(vec![1, 0]));
        assert_eq!(config.clients, [ClientRule { uid: 7, prefixes: vec!["a/".to_owned()] }]);
    }

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bounds() {
        for bad in [
            "shards=0",
            "shards=65",
            "wal.reserve_bytes=1",
            "hot.feed_bytes=1",
            "lane.proposal_bytes=1",
            "listen=127.0.0.1:0",
            "consensus.heartbeat_ms=41",
            "consensus.election_ms_max=120",
            "resp.clients_max=0",
            "resp.password=",
        ] {
            let error = layered("", &[], &[bad]).unwrap_err();
            assert!(matches!(error, ConfigError::Bounds { .. }), "{bad}: {error}");
        }
        let crowded = layered("listen = \"127.0.0.1:65535\"\n", &[], &["shards=2"]).unwrap_err();
        assert!(crowded.to_string().contains("listen"), "{crowded}");
        assert!(layered("", &[], &["listen=here:1"]).is_err());
        assert!(layered("", &[], &["shards=two"]).is_err());
        assert!(layered("", &[], &["shards"]).is_err());
        assert!(layered("", &[], &["idle=sleep"]).unwrap_err().to_string().contains("park"));
    }

    #[test]
    fn a_misspelt_variable_is_noticed() {
        let environment =
            [("IO_OI_SHARD".to_owned(), String::new()), ("IO_OI_SHARDS".to_owned(), String::new())];
        assert_eq!(unknown_variables(environment), ["IO_OI_SHARD"]);
    }
}
