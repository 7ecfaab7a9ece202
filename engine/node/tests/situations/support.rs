//! A node in a process of its own: this test program, started again as a node.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use io_oi_client::{Client, Options};
use io_oi_node::{Config, Node};
use io_oi_record::Receipt;

/// A deadline that only a hang reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A node process; killed when dropped.
pub(crate) struct NodeProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) socket: PathBuf,
}

impl NodeProcess {
    /// Starts a node and waits until it serves.
    pub(crate) fn start(dir: &Path, settings: &[&str]) -> Self {
        Self::try_start(dir, settings).unwrap_or_else(|refusal| panic!("the node did not start: {refusal}"))
    }

    /// Starts a node; its own words when it does not serve.
    pub(crate) fn try_start(dir: &Path, settings: &[&str]) -> Result<Self, String> {
        let mut node = Self::spawn(dir, settings, |_| {});
        node.wait_until_it_serves()?;
        Ok(node)
    }

    /// Starts a node and does not wait for it; `prepare` changes the command before.
    pub(crate) fn spawn(dir: &Path, settings: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "support::be_a_node", "--nocapture", "--test-threads=1"])
            .env(DIR_VARIABLE, dir)
            .env(SETTINGS_VARIABLE, settings.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout, socket: dir.join("io_oi.sock") }
    }

    /// Waits for the first word of a node that was spawned; its own words when it does not serve.
    pub(crate) fn wait_until_it_serves(&mut self) -> Result<(), String> {
        let word = self.next_word();
        match word.split_once(' ') {
            Some(("serves", socket)) => {
                self.socket = socket.into();
                Ok(())
            }
            Some(("refuses", why)) => {
                let status = self.child.wait().unwrap();
                assert_eq!(
                    status.code(),
                    Some(REFUSED_CODE),
                    "a node that does not start says so by its status"
                );
                Err(why.to_owned())
            }
            _ => panic!("unexpected word of the node: {word:?}"),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    /// Asks for a clean stop and waits for it.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the node stopped with {status}");
    }

    /// Waits for a node that ends by itself; its last word and its status.
    pub(crate) fn wait_for_the_end(mut self) -> (String, ExitStatus) {
        let word = self.next_word();
        (word, self.child.wait().unwrap())
    }

    pub(crate) fn attach(&self) -> Client {
        attach(&self.socket)
    }

    fn next_word(&mut self) -> String {
        loop {
            let mut line = String::new();
            let bytes = self.stdout.read_line(&mut line).unwrap();
            assert!(bytes > 0, "the node ended without a word");
            if let Some(word) = line.trim().strip_prefix(WORD) {
                return word.replace('\u{1}', "\n");
            }
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn attach(socket: &Path) -> Client {
    let options = Options { patience: Duration::from_secs(20), ..Options::default() };
    Client::attach_with(socket, options).unwrap()
}

/// Puts and waits until it is committed.
pub(crate) fn put(client: &mut Client, key: &[u8], value: &[u8]) -> Receipt {
    let ticket = client.put(key, value).unwrap();
    client.wait(ticket, soon()).unwrap()
}

pub(crate) fn get(client: &mut Client, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    client.get(key, &mut value).unwrap().map(|_| value)
}

pub(crate) fn counter(client: &Client, label: &str) -> u64 {
    let shard = io_oi_record::ShardId(0);
    client
        .counters(shard)
        .find(|(found, _)| *found == label)
        .unwrap_or_else(|| panic!("no counter {label}"))
        .1
}

/// Looks again until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = soon();
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Small files and tables, no measuring at boot: a test starts many nodes.
pub(crate) fn small_config(dir: &Path, settings: &str) -> Config {
    let small = [
        "wal.segment_bytes=8_388_608",
        "wal.reserve_bytes=4_194_304",
        "wal.strategy=linked",
        "hot.entries_max=20_000",
        "hot.large_bytes_max=16_777_216",
        "log=warn",
    ];
    let dir = format!("dir={}", dir.display());
    let overrides: Vec<String> = [dir.as_str()]
        .into_iter()
        .chain(small)
        .chain(settings.lines().filter(|line| !line.is_empty()))
        .map(str::to_owned)
        .collect();
    Config::layered("test", "", [], &overrides).unwrap()
}

/// The node that the tests start in a process of its own; run by itself it does nothing. Stops when its standard input
/// ends.
#[test]
fn be_a_node() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let settings = std::env::var(SETTINGS_VARIABLE).unwrap();
    if let Ok(namespace) = std::env::var(NAMESPACE_VARIABLE) {
        enter_network_namespace(Path::new(&namespace));
    }
    if std::env::var_os(DIES_WITH_PARENT_VARIABLE).is_some() {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    }
    let config = small_config(Path::new(&dir), &settings);
    tracing_subscriber::fmt()
        .with_env_filter(&*config.log)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let node = match Node::start(config) {
        Ok(node) => node,
        Err(error) => {
            say(&format!("refuses {error}"));
            std::process::exit(REFUSED_CODE);
        }
    };
    say(&format!("serves {}", node.socket_path().display()));
    let (sender, input_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    while !node.has_ended() && input_ended.recv_timeout(Duration::from_millis(10)).is_err() {}
    match node.stop() {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            say(&format!("failed {error}"));
            std::process::exit(FAILED_CODE);
        }
    }
}

/// This thread, and every thread that it starts from now on, sees the namespace's network only.
pub(crate) fn enter_network_namespace(path: &Path) {
    let namespace = std::fs::File::open(path).unwrap();
    let network = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).unwrap();
}

fn say(word: &str) {
    println!("\n{WORD}{}", word.replace('\n', "\u{1}"));
    std::io::stdout().flush().unwrap();
}

const DIR_VARIABLE: &str = "NODE_UNDER_TEST_DIR";
const SETTINGS_VARIABLE: &str = "NODE_UNDER_TEST_SETTINGS";
/// A network namespace's file: the node lives in it.
pub(crate) const NAMESPACE_VARIABLE: &str = "NODE_UNDER_TEST_NAMESPACE";
/// The node is killed when the thread that started it ends, even while it is stopped.
pub(crate) const DIES_WITH_PARENT_VARIABLE: &str = "NODE_UNDER_TEST_DIES_WITH_PARENT";
const WORD: &str = "node> ";
const REFUSED_CODE: i32 = 2;
pub(crate) const FAILED_CODE: i32 = 3;

/// A small generator whose seed is printed, so that a failing run can be told from its output.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        let seed = std::env::var("TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(u64::from_le_bytes(bytes));
        println!("TEST_SEED={seed}");
        Self(seed)
    }

    /// Below `bound`, by SplitMix64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
