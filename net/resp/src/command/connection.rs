//! The connection itself: who is there, which protocol is spoken, and when it ends.

use std::time::Instant;

use super::{Answering, Command, Look, Peer, Run, is_word};
use crate::error::CommandError;
use crate::number::integer;
use crate::reply::Protocol;
use crate::request::Arguments;

const NONE: (i16, i16, i16) = (0, 0, 0);
const FAST: &[&str] = &["loading", "stale", "fast"];
const OPEN: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];

macro_rules! command {
    ($name:literal, $arity:literal, $flags:expr, $since:literal, $syntax:literal, $summary:literal, $run:expr) => {
        Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: NONE,
            group: "connection",
            since: $since,
            complexity: "O(1)",
            summary: $summary,
            syntax: $syntax,
            run: Run::Look($run),
        }
    };
}

pub(super) const COMMANDS: &[Command] = &[
    command!("ping", -1, FAST, "1.0.0", "[message]", "Returns the server's liveliness response.", ping),
    command!("echo", 2, FAST, "1.0.0", "message", "Returns the given string.", echo),
    command!(
        "hello",
        -1,
        OPEN,
        "6.0.0",
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Handshakes with the server.",
        hello
    ),
    command!("auth", -2, OPEN, "1.0.0", "[username] password", "Authenticates the connection.", auth),
    command!(
        "select",
        2,
        FAST,
        "1.0.0",
        "index",
        "Changes the selected database: there is number 0 only.",
        select
    ),
    command!("quit", -1, OPEN, "1.0.0", "", "Closes the connection.", quit),
    command!("reset", 1, OPEN, "6.2.0", "", "Resets the connection.", reset),
    command!(
        "client",
        -2,
        &["noscript", "loading", "stale"],
        "2.4.0",
        "subcommand [argument ...]",
        "A container for client connection commands.",
        client
    ),
];

fn ping(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match (arguments.get(1), arguments.len()) {
        (None, _) => look.reply.simple("PONG"),
        (Some(message), 2) => look.reply.bulk(message),
        _ => return Err(CommandError::Arity("ping".to_owned())),
    }
    Ok(())
}

fn echo(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    look.reply.bulk(arguments.at(1));
    Ok(())
}

fn hello(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut protocol = look.peer.protocol;
    if let Some(version) = arguments.get(1) {
        protocol = match integer(version).ok_or(CommandError::ProtocolNumber)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::NoProtocol),
        };
    }
    let (mut credentials, mut name) = (None, None);
    let mut options = arguments.from(2);
    while let Some(option) = options.next() {
        let mut value = || options.next();
        if is_word(option, "AUTH")
            && let (Some(user), Some(password)) = (value(), value())
        {
            credentials = Some((user, password));
        } else if is_word(option, "SETNAME")
            && let Some(wanted) = value()
        {
            name = Some(wanted);
        } else {
            let option = super::cut(option);
            return Err(CommandError::Other(format!("ERR Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = credentials {
        sign_in(look, user, password)?;
    }
    if !look.peer.is_authenticated {
        return Err(CommandError::Other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
                .to_owned(),
        ));
    }
    if let Some(name) = name {
        set_name(look.peer, name)?;
    }
    look.peer.protocol = protocol;
    look.reply.speak(protocol);
    greet(look);
    Ok(())
}

fn greet(look: &mut Look<'_, '_>) {
    let (id, protocol) = (look.peer.id as i64, look.peer.protocol.number());
    let reply = &mut *look.reply;
    reply.map(7);
    for (field, text) in [("server", "redis"), ("version", super::server::REDIS_VERSION)] {
        reply.text(field);
        reply.text(text);
    }
    for (field, number) in [("proto", protocol), ("id", id)] {
        reply.text(field);
        reply.integer(number);
    }
    for (field, text) in [("mode", "standalone"), ("role", "master")] {
        reply.text(field);
        reply.text(text);
    }
    reply.text("modules");
    reply.array(0);
}

fn auth(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match arguments.len() {
        2 if !look.house.has_password() => return Err(CommandError::NoPassword),
        2 => sign_in(look, DEFAULT_USER, arguments.at(1))?,
        3 => sign_in(look, arguments.at(1), arguments.at(2))?,
        _ => return Err(CommandError::Syntax),
    }
    look.reply.ok();
    Ok(())
}

/// The one user there is. Without a password everybody is let in by this name, as Redis does.
fn sign_in(look: &mut Look<'_, '_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let is_right = user == DEFAULT_USER && (!look.house.has_password() || look.house.is_password(password));
    if !is_right {
        look.counts.refused_passwords.add(1);
        return Err(CommandError::WrongPass);
    }
    look.peer.is_authenticated = true;
    Ok(())
}

const DEFAULT_USER: &[u8] = b"default";

fn select(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match integer(arguments.at(1)) {
        Some(0) => look.reply.ok(),
        Some(_) => return Err(CommandError::Database),
        None => return Err(CommandError::NotInteger),
    }
    Ok(())
}

fn quit(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    look.peer.is_leaving = true;
    look.reply.ok();
    Ok(())
}

fn reset(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    look.peer.protocol = Protocol::Resp2;
    look.reply.speak(Protocol::Resp2);
    look.peer.is_authenticated = !look.house.has_password();
    look.peer.answering = Answering::On;
    look.peer.name.clear();
    look.reply.simple("RESET");
    Ok(())
}

fn client(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let subcommand = arguments.at(1);
    let is = |word: &str, count: usize| is_word(subcommand, word) && arguments.len() == count;
    if is("ID", 2) {
        look.reply.integer(look.peer.id as i64);
    } else if is("GETNAME", 2) {
        match look.peer.name.as_slice() {
            [] => look.reply.null(),
            name => look.reply.bulk(name),
        }
    } else if is("SETNAME", 3) {
        set_name(look.peer, arguments.at(2))?;
        look.reply.ok();
    } else if is("SETINFO", 4) {
        set_library(look.peer, arguments.at(2), arguments.at(3))?;
        look.reply.ok();
    } else if is("INFO", 2) {
        let line = format!("{}\n", look.peer.line(Instant::now()));
        look.reply.verbatim(&line);
    } else if is_word(subcommand, "LIST") {
        list(look, arguments)?;
    } else if is("REPLY", 3) {
        answer_on_or_off(look, arguments.at(2))?;
    } else if is("NO-EVICT", 3) || is("NO-TOUCH", 3) {
        let choice = arguments.at(2);
        if !is_word(choice, "ON") && !is_word(choice, "OFF") {
            return Err(CommandError::Syntax);
        }
        look.reply.ok();
    } else if is("HELP", 2) {
        look.reply.array(CLIENT_HELP.len());
        CLIENT_HELP.iter().for_each(|line| look.reply.simple(line));
    } else if is_word(subcommand, "TRACKING") {
        return Err(CommandError::Unsupported("client-side caching is not served in this version"));
    } else {
        let subcommand = super::cut(subcommand);
        return Err(CommandError::Subcommand { command: "CLIENT", subcommand });
    }
    Ok(())
}

const CLIENT_HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <id> [<id> ...]",
    "      Return clients of specified IDs only.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Set client meta attributes of the current connection.",
    "HELP",
    "    Print this help.",
];

fn set_name(peer: &mut Peer, name: &[u8]) -> Result<(), CommandError> {
    if !is_plain(name) {
        return Err(CommandError::Other(
            "ERR Client names cannot contain spaces, newlines or special characters.".to_owned(),
        ));
    }
    check_label(name)?;
    peer.name = name.to_vec();
    Ok(())
}

fn set_library(peer: &mut Peer, what: &[u8], value: &[u8]) -> Result<(), CommandError> {
    let (place, label) = if is_word(what, "LIB-NAME") {
        (&mut peer.library, "lib-name")
    } else if is_word(what, "LIB-VER") {
        (&mut peer.library_version, "lib-ver")
    } else {
        return Err(CommandError::Other(format!("ERR Unrecognized option '{}'", super::cut(what))));
    };
    if !is_plain(value) {
        return Err(CommandError::Other(format!(
            "ERR {label} cannot contain spaces, newlines or special characters."
        )));
    }
    check_label(value)?;
    *place = value.to_vec();
    Ok(())
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// These stand in memory as long as the connection does.
fn check_label(label: &[u8]) -> Result<(), CommandError> {
    let text = "ERR names of clients and libraries have at most 256 bytes here";
    if label.len() > LABEL_BYTES_MAX { Err(CommandError::Other(text.to_owned())) } else { Ok(()) }
}

const LABEL_BYTES_MAX: usize = 256;

fn list(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut wanted: Option<Vec<i64>> = None;
    let mut is_any = true;
    match (arguments.get(2), arguments.len()) {
        (None, _) => {}
        (Some(option), 4) if is_word(option, "TYPE") => match arguments.at(3) {
            kind if is_word(kind, "NORMAL") => {}
            kind if ["MASTER", "REPLICA", "SLAVE", "PUBSUB"].iter().any(|word| is_word(kind, word)) => {
                is_any = false;
            }
            kind => {
                let kind = super::cut(kind);
                return Err(CommandError::Other(format!("ERR Unknown client type '{kind}'")));
            }
        },
        (Some(option), 4..) if is_word(option, "ID") => {
            let ids: Option<Vec<i64>> = arguments.from(3).map(integer).collect();
            wanted = Some(ids.ok_or(CommandError::Other("ERR Invalid client ID".to_owned()))?);
        }
        _ => return Err(CommandError::Syntax),
    }
    let mut lines = (look.others)();
    lines.push(look.peer.line(Instant::now()));
    let id_of = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    lines.sort_by_key(|line| id_of(line).unwrap_or(0));
    let is_wanted = |line: &String| {
        is_any && wanted.as_ref().is_none_or(|ids| id_of(line).is_some_and(|id: i64| ids.contains(&id)))
    };
    lines.retain(is_wanted);
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    look.reply.verbatim(&text);
    Ok(())
}

fn answer_on_or_off(look: &mut Look<'_, '_>, choice: &[u8]) -> Result<(), CommandError> {
    if is_word(choice, "ON") {
        look.peer.answering = Answering::On;
        look.reply.ok();
    } else if is_word(choice, "OFF") {
        look.peer.answering = Answering::Off;
    } else if is_word(choice, "SKIP") {
        if look.peer.answering == Answering::On {
            look.peer.answering = Answering::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

impl Peer {
    /// As `CLIENT LIST` shows it.
    pub(crate) fn line(&self, now: Instant) -> String {
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 cmd={} user={} \
             lib-name={} lib-ver={} resp={}",
            self.id,
            self.address,
            self.own_address,
            text(&self.name),
            seconds(self.connected),
            seconds(self.last_heard),
            self.last_command,
            if self.is_authenticated { "default" } else { "(none)" },
            text(&self.library),
            text(&self.library_version),
            self.protocol.number(),
        )
    }
}
