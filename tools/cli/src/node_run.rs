//! `io_oi node run`: one node in the foreground.
//!
//! Invariant: standard output carries results only; the node's log goes to standard error.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use io_oi_node::{Config, ConfigError, Node, NodeHandle, RecoveryProgress, StartError};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::args::NodeRun;
use crate::bar::Bar;
use crate::dev::event;
use crate::failure::Failure;
use crate::output::{Output, is_watched};

/// Runs until interrupted, or until the node cannot go on.
pub(crate) fn node_run(
    output: Output,
    arguments: &NodeRun,
    socket: Option<&Path>,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    if arguments.with_parent {
        stop_with_parent()?;
    }
    let config = configure(arguments, socket)?;
    keep_log(&config)?;
    warn_of_misspelt_variables();
    let node = start(config)?;
    let fields = [
        ("socket", node.socket_path().display().to_string().into()),
        ("node", node.node().to_string().into()),
        ("cluster", node.cluster().to_string().into()),
        ("boot", node.boot().into()),
    ];
    output.result(event("ready", &fields), || {
        format!("The node serves at {}. Ctrl-C stops it in order.", node.socket_path().display())
    })?;
    while !interrupted.load(Ordering::Relaxed) && !node.has_ended() {
        std::thread::sleep(LOOK);
    }
    node.stop().map_err(|error| {
        Failure::with_help(
            error,
            "its log says more; whatever was acknowledged is on disk: start the node again",
        )
    })?;
    output.result(event("stopped", &[("clean", Value::Bool(true))]), || "The node has stopped.".to_owned())
}

/// Between two looks at what could end the node.
const LOOK: Duration = Duration::from_millis(20);

fn configure(arguments: &NodeRun, socket: Option<&Path>) -> Result<Config, Failure> {
    let mut config =
        Config::load(arguments.config.as_deref(), &arguments.settings).map_err(config_failure)?;
    if let Some(dir) = &arguments.dir {
        config.dir.clone_from(dir);
    }
    if let Some(socket) = socket {
        config.socket = Some(socket.to_owned());
    }
    if arguments.config.is_none() && arguments.dir.is_none() && std::env::var_os("IO_OI_DIR").is_none() {
        return Err(Failure::Usage {
            what: "a node needs a place: --config FILE, or --dir PATH, or IO_OI_DIR".to_owned(),
        });
    }
    Ok(config)
}

fn config_failure(error: ConfigError) -> Failure {
    Failure::with_help(
        error,
        "`io_oi node sample` prints every setting with its default; flags and IO_OI_* variables win over the file",
    )
}

/// One log for node and binary, on standard error. `RUST_LOG` wins over the configuration.
fn keep_log(config: &Config) -> Result<(), Failure> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.is_empty() => wanted,
        _ => config.log.clone(),
    };
    let filter = EnvFilter::try_new(&filter)
        .map_err(|error| Failure::other(format!("the log filter `{filter}` is not understood: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_watched());
    log.try_init().map_err(|error| Failure::other(format!("cannot start the log: {error}")))
}

fn warn_of_misspelt_variables() {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    for name in io_oi_node::config::unknown_variables(environment) {
        tracing::warn!(name, "this variable sets nothing: is it misspelt?");
    }
}

fn start(config: Config) -> Result<NodeHandle, Failure> {
    let mut bar = Bar::new("reading the log");
    let show = |progress: RecoveryProgress| bar.show(progress.shard, progress.bytes, progress.bytes_max);
    let started = Node::start_with(config, show);
    bar.clear();
    started.map_err(start_failure)
}

fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Config(error) => config_failure(error),
        error => Failure::Other { what: error.to_string(), help: None },
    }
}

/// The kernel tells us when our parent dies, even by SIGKILL.
fn stop_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::other(format!("cannot bind the node to its parent process: {error}")))
}
