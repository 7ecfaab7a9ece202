//! io_oi: one binary for node, operators and demonstrations.
//!
//! Invariant: exit codes, JSON fields and event names are an interface; they change only with a release note.

mod arbitrator;
mod args;
mod backup;
mod bar;
mod bytes;
mod data;
mod dev;
mod evidence;
mod failure;
mod genesis;
mod governance;
mod keys;
mod leader;
mod node_run;
mod output;
mod peer;
mod place;
mod proof;
mod status;
mod view;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use io_oi_client::{Client, Options};

use args::cluster::Evidence;
use args::{Arguments, Command, Node};
use failure::Failure;
use output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set by the first SIGINT, SIGTERM or SIGHUP; the second one ends the process at once.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    output::choose_looks();
    match run(&arguments, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit_code = failure.exit_code();
            output.failure(failure);
            ExitCode::from(exit_code)
        }
    }
}

fn run(arguments: &Arguments, output: Output) -> Result<(), Failure> {
    let socket = arguments.socket.as_deref();
    match &arguments.command {
        Command::Dev(dev) => {
            catch_signals()?;
            dev::dev(output, dev, socket, &INTERRUPTED)
        }
        Command::Node(Node::Run(node)) => {
            catch_signals()?;
            node_run::node_run(output, node, socket, &INTERRUPTED)
        }
        Command::Node(Node::Sample) => output.raw(io_oi_node::config::SAMPLE.as_bytes()),
        Command::Get(get) => data::get(&mut attach(socket)?, output, get),
        Command::Put(put) => data::put(&mut attach(socket)?, output, put),
        Command::Delete(delete) => data::delete(&mut attach(socket)?, output, delete),
        Command::Watch(watch) => {
            catch_signals()?;
            watch::watch(&mut attach(socket)?, output, watch, &INTERRUPTED)
        }
        Command::Arbitrator(verb) => arbitrator::arbitrator(output, socket, verb),
        Command::Evidence(Evidence::Verify(check)) => evidence::verify(output, check),
        Command::Evidence(Evidence::List) => evidence::list(output, &find_socket(socket)?),
        Command::Evidence(Evidence::Export(export)) => {
            evidence::export(output, &find_socket(socket)?, export)
        }
        Command::Peer(verb) => peer::peer(output, &find_socket(socket)?, verb),
        Command::Leader(verb) => leader::leader(output, &find_socket(socket)?, verb),
        Command::Prove(prove) => proof::prove(output, &find_socket(socket)?, prove),
        Command::Verify(verify) => proof::verify(output, verify),
        Command::Backup(take) => backup::backup(output, &find_socket(socket)?, take),
        Command::Restore(restore) => backup::restore(output, restore),
        Command::Genesis(verb) => genesis::genesis(output, verb),
        Command::Status(status) => status::status(&mut attach(socket)?, output, status),
    }
}

/// Attaches to the socket named, or to the one that is announced.
fn attach(socket: Option<&Path>) -> Result<Client, Failure> {
    let socket = find_socket(socket)?;
    let options = Options { name: "io_oi".to_owned(), ..Options::default() };
    Client::attach_with(&socket, options).map_err(|error| Failure::from_attach(&socket, error))
}

fn find_socket(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(socket) = named {
        return Ok(socket.to_owned());
    }
    if let Some(socket) = std::env::var_os("IO_OI_SOCKET").filter(|socket| !socket.is_empty()) {
        return Ok(socket.into());
    }
    match place::current() {
        Ok(Some(socket)) => Ok(socket),
        Ok(None) => Err(Failure::no_socket()),
        Err(error) => Err(Failure::Unreachable {
            what: format!("the announced socket cannot be looked up: {error}"),
            help: Some("name the socket: --socket PATH or IO_OI_SOCKET".to_owned()),
        }),
    }
}

fn catch_signals() -> Result<(), Failure> {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130); // Asked twice: what is under way is not waited for.
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::other(format!("cannot catch signals: {error}")))
}
