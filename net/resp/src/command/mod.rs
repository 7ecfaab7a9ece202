//! The commands: one table a group, one way to run them.
//!
//! Invariant: a command either answers at once from what it sees, or is a plan of edits that is answered when they are
//! decided; none waits.

mod connection;
mod keys;
mod manual;
mod server;
mod strings;

use std::net::SocketAddr;
use std::time::Instant;

use crate::error::CommandError;
use crate::gateway::{Counts, House};
use crate::reply::{Protocol, Reply};
use crate::request::Arguments;
use crate::store::{Plan, Store};

/// One command as it is run and as it is described.
pub(crate) struct Command {
    /// In small letters.
    pub(crate) name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub(crate) arity: i16,
    /// As `COMMAND` names them.
    pub(crate) flags: &'static [&'static str],
    /// First key, last key, step; zeros when there are none.
    pub(crate) keys: (i16, i16, i16),
    pub(crate) group: &'static str,
    pub(crate) since: &'static str,
    pub(crate) complexity: &'static str,
    pub(crate) summary: &'static str,
    /// The arguments behind the name, in the notation of the manual.
    pub(crate) syntax: &'static str,
    pub(crate) run: Run,
}

/// How a command is run.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Answers from what it sees.
    Look(fn(&mut Look<'_, '_>, &Arguments<'_>) -> Result<(), CommandError>),
    /// Says what is to be changed.
    Edit(for<'a> fn(&Arguments<'a>) -> Result<Plan<'a>, CommandError>),
}

/// What a command sees.
pub(crate) struct Look<'a, 'o> {
    pub(crate) peer: &'a mut Peer,
    /// `None` while the node takes no clients yet.
    pub(crate) store: Option<&'a mut Store>,
    pub(crate) house: &'a House,
    pub(crate) counts: &'a Counts,
    /// Everybody else, as `CLIENT LIST` shows them.
    pub(crate) others: &'a dyn Fn() -> Vec<String>,
    pub(crate) reply: &'a mut Reply<'o>,
}

impl Look<'_, '_> {
    /// The store, or the error that says that there is none yet.
    pub(crate) fn store(&mut self) -> Result<&mut Store, CommandError> {
        self.store.as_deref_mut().ok_or(CommandError::Loading)
    }
}

/// Who is at the other end of a connection, and what was agreed with them.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) own_address: SocketAddr,
    pub(crate) connected: Instant,
    pub(crate) last_heard: Instant,
    pub(crate) last_command: &'static str,
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) protocol: Protocol,
    pub(crate) is_authenticated: bool,
    pub(crate) answering: Answering,
    /// Closed as soon as everything is sent.
    pub(crate) is_leaving: bool,
}

/// What `CLIENT REPLY` chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answering {
    #[default]
    On,
    Off,
    /// Not the next command.
    SkipNext,
}

impl Command {
    /// Whether it may be run by somebody who has not said who they are.
    pub(crate) fn is_open_to_strangers(&self) -> bool {
        self.flags.contains(&"no_auth")
    }

    /// Whether it is answered without a store.
    pub(crate) fn is_answered_while_loading(&self) -> bool {
        self.flags.contains(&"loading")
    }

    pub(crate) fn has_arity(&self, arguments: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    [connection::COMMANDS, server::COMMANDS, strings::COMMANDS, keys::COMMANDS].into_iter().flatten()
}

/// The command of this name, in whatever letters.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    // Twenty bytes name every command there is; longer ones need not be looked at.
    let mut small = [0; NAME_BYTES_MAX];
    let small = small.get_mut(..name.len())?;
    small.copy_from_slice(name);
    small.make_ascii_lowercase();
    let sorted = SORTED.get_or_init(|| {
        let mut sorted: Vec<&'static Command> = all().collect();
        sorted.sort_by_key(|command| command.name);
        sorted
    });
    sorted.binary_search_by(|command| command.name.as_bytes().cmp(small)).ok().map(|index| sorted[index])
}

static SORTED: std::sync::OnceLock<Vec<&'static Command>> = std::sync::OnceLock::new();
const NAME_BYTES_MAX: usize = 24;

/// The error for a name that nobody knows, in the shape of Redis's own. What would let a key expire is named as such: whoever
/// sends it counts on it.
pub(crate) fn unknown(arguments: &Arguments<'_>) -> CommandError {
    if EXPIRING.iter().any(|name| is_word(arguments.at(0), name)) {
        return strings::NO_EXPIRY;
    }
    let mut shown = String::new();
    for argument in arguments.from(1) {
        if shown.len() >= UNKNOWN_BYTES_MAX {
            break;
        }
        shown.push_str(&format!("'{}' ", cut(argument)));
    }
    CommandError::Unknown { name: cut(arguments.at(0)), arguments: shown }
}

/// At most so many bytes of what somebody sent, fit for a line.
pub(crate) fn cut(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(UNKNOWN_BYTES_MAX)]).into_owned()
}

const UNKNOWN_BYTES_MAX: usize = 128;
const EXPIRING: [&str; 6] = ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "SETEX", "PSETEX"];

/// Whether an argument is this word, in whatever letters.
pub(crate) fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_letters() {
        for command in all() {
            assert!(std::ptr::eq(find(command.name.as_bytes()).unwrap(), command), "{}", command.name);
            assert!(find(command.name.to_uppercase().as_bytes()).is_some());
            assert!(command.name.len() <= NAME_BYTES_MAX);
        }
        assert!(find(b"nothing").is_none() && find(&[b'a'; 100]).is_none() && find(b"").is_none());
    }

    #[test]
    fn arities_and_keys_agree() {
        for command in all() {
            let (first, last, step) = command.keys;
            assert_eq!(first == 0, step == 0, "{}", command.name);
            assert!(first <= command.arity.abs() && (last < 0 || last >= first), "{}", command.name);
        }
    }
}
