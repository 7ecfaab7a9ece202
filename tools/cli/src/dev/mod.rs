//! `io_oi dev`: a cluster of one's own in a minute, and a short show of what it does.

mod board;
mod child;
mod demo;
mod fleet;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::args::Dev;
use crate::failure::Failure;
use crate::output::{Output, is_watched, table};
use crate::place::Announcement;
use board::Board;
use child::Running;
use fleet::Fleet;

/// Starts, shows, tells what to try, runs until interrupted, cleans up.
pub(crate) fn dev(
    output: Output,
    dev: &Dev,
    socket: Option<&Path>,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let home = Home::prepare(dev.dir.as_deref())?;
    let mut fleet = Fleet::prepare(home.path(), dev.nodes, dev.shards, socket, dev.resp.0)?;
    output.tell(&match fleet.vessels.len() {
        1 => "Starting a node.".to_owned(),
        count => format!("Starting {count} nodes."),
    })?;
    let leader = start(&mut fleet, START_PATIENCE, interrupted)?;
    fleet.learn_resp_addresses();
    let socket = fleet.vessels[leader].node.socket.clone();
    let announcement = announce(output, &socket);
    output.result(event("ready", &ready_fields(&fleet, leader, home.path())), || {
        ready_text(&fleet, &socket, home.path())
    })?;
    if !dev.no_demo {
        demo::show(output, &mut fleet, leader, interrupted)?;
    }
    output.tell(&what_next(&fleet, &socket, home.path(), announcement.is_some()))?;
    idle(output, &mut fleet, dev.seconds.map(Duration::from_secs), interrupted)?;
    output.tell(match fleet.vessels.len() {
        1 => "Stopping the node: it drains and flushes.",
        _ => "Stopping the nodes: they drain and flush.",
    })?;
    fleet.stop(STOP_PATIENCE)?;
    drop(announcement);
    let kept = home.close();
    output.result(event("stopped", &[("kept", kept.as_deref().map_or(Value::Null, text))]), || match kept {
        Some(dir) => format!("Stopped. Everything is kept in {}.", dir.display()),
        None => "Stopped. The temporary directory is gone.".to_owned(),
    })
}

fn ready_fields(fleet: &Fleet, leader: usize, dir: &Path) -> Vec<(&'static str, Value)> {
    let nodes: Vec<Value> = fleet
        .vessels
        .iter()
        .map(|vessel| {
            json!({"name": vessel.name, "socket": text(&vessel.node.socket), "dir": text(&vessel.node.dir),
                "process": vessel.running.as_ref().map(Running::id), "resp": vessel.node.resp.map(|address| address.to_string())})
        })
        .collect();
    vec![
        ("socket", text(&fleet.vessels[leader].node.socket)),
        ("dir", text(dir)),
        ("in_memory", is_in_memory(dir).into()),
        ("nodes", nodes.into()),
        ("leader", fleet.vessels[leader].name.clone().into()),
        ("operator_key", text(&fleet.operator_key)),
    ]
}

fn ready_text(fleet: &Fleet, socket: &Path, dir: &Path) -> String {
    let warning = match is_in_memory(dir) {
        true => "\n  Its directory is in memory: nothing survives a power cut.",
        false => "",
    };
    if let [vessel] = &fleet.vessels[..] {
        let id = vessel.running.as_ref().map_or(0, Running::id);
        let resp =
            vessel.node.resp.map_or_else(String::new, |address| format!("\n  Redis clients: {address}"));
        return format!("  It runs as process {id}, its socket is {}{resp}{warning}\n", socket.display());
    }
    let mut rows = vec![["node", "process", "redis", "socket"].map(str::to_owned).to_vec()];
    rows.extend(fleet.vessels.iter().map(|vessel| {
        let id = vessel.running.as_ref().map_or_else(String::new, |running| running.id().to_string());
        let resp = vessel.node.resp.map_or_else(|| "off".to_owned(), |address| address.to_string());
        vec![vessel.name.clone(), id, resp, vessel.node.socket.display().to_string()]
    }));
    let indented = |table: String| table.lines().map(|line| format!("  {line}\n")).collect::<String>();
    format!("{}\n{}{warning}", indented(table(&rows)), indented(Board::look(fleet).text()))
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

/// Starts the nodes and waits until one leads and takes clients; a wait over a second shows that it lives.
fn start(fleet: &mut Fleet, patience: Duration, interrupted: &AtomicBool) -> Result<usize, Failure> {
    fleet.start()?;
    let moving = is_watched().then(|| {
        let style =
            ProgressStyle::with_template("{spinner} reading the log {elapsed}").expect("a fixed template");
        ProgressBar::new_spinner().with_style(style)
    });
    if let Some(bar) = &moving {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    let leader = fleet.wait_for_leader(patience, interrupted);
    let attached = leader.and_then(|leader| fleet.attach(leader, "io_oi dev", patience).map(|_| leader));
    if let Some(bar) = moving {
        bar.finish_and_clear();
    }
    attached
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

/// Shows who leads and how far everybody is; starts nodes again that somebody killed, which is what they are here for.
fn idle(
    output: Output,
    fleet: &mut Fleet,
    limit: Option<Duration>,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let end = limit.map(|limit| Instant::now() + limit);
    let line = is_watched().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template");
        ProgressBar::new_spinner().with_style(style)
    });
    let (mut looked, mut leaders) = (None::<Instant>, Vec::new());
    while !interrupted.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        if let Some(name) = fleet.mend()? {
            let words = format!("{name} ended; it is started again");
            output.result(event("node-restarted", &[("node", name.into())]), || words)?;
        }
        if fleet.vessels.len() > 1 && looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            let board = Board::look(fleet);
            if let Some(line) = &line {
                line.set_message(board.line());
                line.tick();
            }
            let now = board.leaders();
            if now != leaders && !now.is_empty() {
                leaders = now;
                output.result(event("leaders", &[("shards", board.values().into())]), || board.line())?;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(line) = line {
        line.finish_and_clear();
    }
    Ok(())
}

/// Between two looks at who leads: soon enough for an eye, seldom enough for the nodes.
const LOOK: Duration = Duration::from_millis(500);

fn what_next(fleet: &Fleet, socket: &Path, dir: &Path, is_announced: bool) -> String {
    let program = program();
    let named = format!("--socket {}", quoted(socket));
    let option = if is_announced { String::new() } else { format!(" {named}") };
    let probe = probe();
    let mut lines = vec![
        "What to try next, in another terminal:".to_owned(),
        format!("  {program} put{option} risk/limit 100"),
        format!("  {program} get{option} risk/limit"),
        format!("  {program} watch{option} risk/"),
        format!(
            "  {program} put{option} risk/limit 120 --if-sequence 7     refused, unless its sequence is 7"
        ),
        format!("  {program} status{option} --json"),
    ];
    if let Some(address) = fleet.vessels[0].node.resp {
        lines.push(format!("  redis-cli -h {} -p {} set risk/limit 100", address.ip(), address.port()));
    }
    if let [_, second, ..] = &fleet.vessels[..] {
        lines.extend([
            format!("  {program} leader show{option}"),
            format!("  {program} leader transfer{option} {}", second.name),
            format!("  {program} prove{option} risk/limit && {program} verify io_oi.proof --genesis {}", quoted(&dir.join("cluster.genesis"))),
            format!("  kill -9 {}                                    another node takes over, this one is started again", second.running.as_ref().map_or(0, Running::id)),
        ]);
    }
    lines.push(format!("  {probe} commit --attach {}", quoted(socket)));
    lines.push(format!("From a program: io_oi_client::Client::attach({socket:?})"));
    lines.push(match fleet.vessels.len() {
        1 => format!("The node's files and its log are in {}. Ctrl-C ends.", dir.display()),
        _ => format!(
            "The nodes' files and logs are in {}, the operator's key, too. Ctrl-C ends.",
            dir.display()
        ),
    });
    lines.join("\n")
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
