//! A child process that appends for ever and says through a pipe what was acknowledged to it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use io_oi_wal::{AppendError, Frame, FrameKind, StrategyWish, Wal};

use super::{frame_of, real_config};

const DIRECTORY: &str = "IO_OI_WAL_CHILD_DIRECTORY";
const STRATEGY: &str = "IO_OI_WAL_CHILD_STRATEGY";

/// The child's life; returns when the log fails. To be called by a test named `child_appends_for_ever`, which is the
/// child's entry and does nothing when nobody started it as one.
pub fn run() {
    let (Some(directory), Ok(strategy)) = (std::env::var_os(DIRECTORY), std::env::var(STRATEGY)) else {
        println!("skipped: this is the child process of other tests");
        return;
    };
    let config = real_config(strategy.parse::<StrategyWish>().unwrap());
    let mut count = 0u64;
    let (mut wal, recovered) = Wal::open(PathBuf::from(directory), config, |_, frame| {
        assert_eq!((frame.sequence, frame.bytes), (count, &frame_of(count)[..]));
        count += 1;
        Ok(())
    })
    .unwrap();
    let offset = recovered.last_index.0;
    say(&format!("opened {count}"));
    let first = count;
    loop {
        for _ in 0..1 + count % 7 {
            let bytes = frame_of(count);
            match wal.append(Frame { kind: FrameKind(1), epoch: 1, sequence: count, bytes: &bytes }) {
                Ok(_) => count += 1,
                Err(AppendError::BatchFull | AppendError::LogFull) => break,
                Err(error) => return say(&format!("failed {error}")),
            }
        }
        wal.submit();
        match wal.poll() {
            Ok(None) => {}
            Ok(Some(through)) => say(&format!("acknowledged {}", first + (through.0 - offset))),
            Err(error) => return say(&format!("failed {error}")),
        }
    }
}

fn say(line: &str) {
    // A parent that is gone is no reason to go on.
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// A running child.
pub struct Appender {
    child: Child,
    lines: Receiver<String>,
    acknowledged: u64,
}

impl Appender {
    /// Starts this very test binary again, as a child.
    pub fn start(directory: &Path, strategy: StrategyWish) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_for_ever", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(STRATEGY, strategy.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, acknowledged: 0 }
    }

    /// Listens until so many more frames were acknowledged.
    pub fn listen_until(&mut self, more: u64) {
        let mut until = None;
        while until.is_none_or(|until| self.acknowledged < until) {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("the child makes progress");
            if self.take(&line) {
                until.get_or_insert(self.acknowledged + more);
            }
        }
    }

    /// Kills the child and says how many frames were acknowledged to it.
    pub fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        self.last_words()
    }

    /// Waits until the child has ended by itself, killing it if it does not, and says the same.
    pub fn wait(mut self) -> u64 {
        for _ in 0..200 {
            if self.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have ended in between.
        let _ = self.child.kill();
        self.last_words()
    }

    fn last_words(&mut self) -> u64 {
        self.child.wait().unwrap();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => {
                    self.take(&line);
                }
                Err(RecvTimeoutError::Disconnected) => return self.acknowledged,
                Err(RecvTimeoutError::Timeout) => panic!("the dead child's pipe stays open"),
            }
        }
    }

    fn take(&mut self, line: &str) -> bool {
        let count = line.strip_prefix("acknowledged ").or_else(|| line.strip_prefix("opened "));
        let Some(count) = count.and_then(|count| count.parse::<u64>().ok()) else { return false };
        assert!(count >= self.acknowledged, "acknowledged frames never become fewer");
        self.acknowledged = count;
        true
    }
}
