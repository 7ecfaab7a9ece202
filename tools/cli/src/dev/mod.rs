//! `io_oi dev`: a node of one's own in a minute, and a short show of what it does.

mod child;
mod demo;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use io_oi_client::Options;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::args::Dev;
use crate::failure::Failure;
use crate::output::{Output, is_watched};
use crate::place::Announcement;
use child::{NodeProcess, Running};

/// Starts, shows, tells what to try, runs until interrupted, cleans up.
pub(crate) fn dev(
    output: Output,
    dev: &Dev,
    socket: Option<&Path>,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let home = Home::prepare(dev.dir.as_deref())?;
    let socket = socket.map_or_else(|| home.path().join("io_oi.sock"), Path::to_owned);
    let node = NodeProcess { dir: home.path().to_owned(), socket: socket.clone(), shards: dev.shards };
    output.tell("Starting a node.")?;
    let mut running = start(&node, START_PATIENCE)?;
    let announcement = announce(output, &socket);
    let in_memory = is_in_memory(home.path());
    let fields = [("socket", text(&socket)), ("dir", text(home.path())), ("in_memory", in_memory.into())];
    output.result(event("ready", &fields), || {
        let warning =
            if in_memory { "\n  Its directory is in memory: nothing survives a power cut." } else { "" };
        format!("  It runs as process {}, its socket is {}{warning}\n", running.id(), socket.display())
    })?;
    if !dev.no_demo {
        running = demo::show(output, &node, running, interrupted)?;
    }
    output.tell(&what_next(&socket, home.path(), announcement.is_some()))?;
    idle(&mut running, dev.seconds.map(Duration::from_secs), interrupted)?;
    output.tell("Stopping the node: it drains and flushes.")?;
    running.stop(STOP_PATIENCE)?;
    drop(announcement);
    let kept = home.close();
    output.result(event("stopped", &[("kept", kept.as_deref().map_or(Value::Null, text))]), || match kept {
        Some(dir) => format!("Stopped. Everything is kept in {}.", dir.display()),
        None => "Stopped. The temporary directory is gone.".to_owned(),
    })
}

/// A long log takes a while to be read again.
const START_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A directory of ours, or one that we were given.
enum Home {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Home {
    fn prepare(given: Option<&Path>) -> Result<Self, Failure> {
        let failed = |path: &Path, error: std::io::Error| {
            Failure::with_help(
                format!("cannot make the directory {}: {error}", path.display()),
                "choose one that you may write with --dir",
            )
        };
        let Some(dir) = given else {
            let place = temporary_place();
            let made = tempfile::Builder::new().prefix("io_oi-dev-").tempdir_in(&place);
            return made.map(Home::Temporary).map_err(|error| failed(&place, error));
        };
        std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        dir.canonicalize().map(Home::Given).map_err(|error| failed(dir, error))
    }

    fn path(&self) -> &Path {
        match self {
            Home::Temporary(dir) => dir.path(),
            Home::Given(dir) => dir,
        }
    }

    /// Removes what is temporary; says what is kept.
    fn close(self) -> Option<PathBuf> {
        match self {
            Home::Temporary(dir) => match dir.close() {
                Ok(()) => None,
                Err(error) => {
                    eprintln!("could not remove the temporary directory: {error}");
                    None
                }
            },
            Home::Given(dir) => Some(dir),
        }
    }
}

/// Where temporary directories go: on a disk, so that durable means durable. A `TMPDIR` is obeyed wherever it is.
fn temporary_place() -> PathBuf {
    let usual = std::env::temp_dir();
    let on_disk = PathBuf::from("/var/tmp");
    let is_chosen = std::env::var_os("TMPDIR").is_some();
    if !is_chosen && is_in_memory(&usual) && !is_in_memory(&on_disk) && on_disk.is_dir() {
        on_disk
    } else {
        usual
    }
}

/// Whether a directory lives in memory only. One that cannot be asked counts as a disk: the node will tell.
fn is_in_memory(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|found| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&(found.f_type as u64)))
}

/// From the kernel's `magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Starts the node and waits until it answers; a wait over a second shows that it lives.
fn start(node: &NodeProcess, patience: Duration) -> Result<Running, Failure> {
    let mut running = node.start()?;
    let moving = is_watched().then(|| {
        let style = ProgressStyle::with_template("{spinner} the node reads its log {elapsed}")
            .expect("a fixed template");
        ProgressBar::new_spinner().with_style(style)
    });
    if let Some(bar) = &moving {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let options = Options { name: "io_oi dev".to_owned(), ..Options::default() };
    let attached = running.attach(&node.socket, &options, patience);
    if let Some(bar) = moving {
        bar.finish_and_clear();
    }
    attached.map(|_| running)
}

fn announce(output: Output, socket: &Path) -> Option<Announcement> {
    match Announcement::publish(socket) {
        Ok(announcement) => Some(announcement),
        Err(error) => {
            output.remark(&format!(
                "other commands need --socket, for the socket could not be announced: {error}"
            ));
            None
        }
    }
}

fn idle(running: &mut Running, limit: Option<Duration>, interrupted: &AtomicBool) -> Result<(), Failure> {
    let end = limit.map(|limit| Instant::now() + limit);
    while !interrupted.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        running.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn what_next(socket: &Path, dir: &Path, is_announced: bool) -> String {
    let program = program();
    let named = format!("--socket {}", quoted(socket));
    let option = if is_announced { String::new() } else { format!(" {named}") };
    let probe = probe();
    format!(
        "\
What to try next, in another terminal:
  {program} put{option} risk/limit 100
  {program} get{option} risk/limit
  {program} watch{option} risk/
  {program} put{option} risk/limit 120 --if-sequence 7     refused, unless its sequence is 7
  {program} status{option} --json
  {probe} commit --attach {socket}
From a program: io_oi_client::Client::attach({socket:?})
The node's files and its log are in {dir}. Ctrl-C ends.",
        socket = quoted(socket),
        dir = dir.display(),
    )
}

/// How this very program is called from here.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "io_oi".to_owned() };
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    quoted(&relative.unwrap_or(path))
}

/// The probe beside this program, or the way to build it.
fn probe() -> String {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("latency-probe"));
    match beside.filter(|path| path.is_file()) {
        Some(_) => program().replace("io_oi", "latency-probe"),
        None => "cargo run --release -p io_oi_latency_probe --".to_owned(),
    }
}

/// A path that can be pasted into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn text(path: &Path) -> Value {
    path.display().to_string().into()
}

/// One line of the story for programs.
pub(crate) fn event(name: &str, fields: &[(&str, Value)]) -> Map<String, Value> {
    let Value::Object(mut object) = json!({"event": name}) else {
        unreachable!("json! of an object is an object")
    };
    object.extend(fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
    object
}
