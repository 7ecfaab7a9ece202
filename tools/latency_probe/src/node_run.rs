//! The hidden node process: one io_oi node that lives and dies with the probe that started it.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc;

use io_oi_node::{Config, Node};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::failure::Failure;

/// What the child prints on its standard output once clients may attach.
pub(crate) const READY: &str = "ready";

/// Runs a node until the probe says stop (SIGTERM) or dies.
pub(crate) fn run(dir: &Path, settings: &[String]) -> Result<(), Failure> {
    die_with_parent();
    // The probe that started this process adds which node it is about.
    let failed = Failure::Refused;
    let mut overrides = vec![format!("dir={}", dir.display())];
    overrides.extend_from_slice(settings);
    // Only what the probe was told counts: the environment of whoever runs it would make figures differ silently.
    let config =
        Config::layered("latency-probe", "", [], &overrides).map_err(|error| failed(error.to_string()))?;
    let node = Node::start(config).map_err(|error| failed(error.to_string()))?;
    let (stop, stopped) = mpsc::channel();
    // Nobody listens any more only when the node is stopping already.
    let ask = move || _ = stop.send(());
    ctrlc::set_handler(ask).map_err(|error| failed(error.to_string()))?;
    println!("{READY}");
    std::io::stdout().flush().map_err(Failure::io("telling the probe that the node is ready"))?;
    // An error means that the sender is gone, which only happens at the end of the process.
    let _ = stopped.recv();
    node.stop().map_err(|error| failed(error.to_string()))
}

/// A probe that was killed leaves no process behind.
pub(crate) fn die_with_parent() {
    let parent = getppid();
    // Refused only on systems without it; then a killed probe leaves its node to the operator.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != parent {
        std::process::exit(1); // The parent died before the signal was arranged.
    }
}
