//! Commands described: what `COMMAND` and `COMMAND DOCS` say of each.
//!
//! Invariant: the arguments in the answer are read from the one line of syntax that people read, so that the two agree.

use super::Command;
use crate::reply::Reply;

/// One row of `COMMAND INFO`.
pub(super) fn describe(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.text(command.name);
    reply.integer(command.arity.into());
    reply.set(command.flags.len());
    command.flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = command.keys;
    [first, last, step].into_iter().for_each(|number| reply.integer(number.into()));
    let categories = categories(command);
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    // Tips, key specifications, subcommands.
    reply.array(0);
    specify_keys(command, reply);
    reply.array(0);
}

fn categories(command: &Command) -> Vec<&'static str> {
    let has = |flag: &str| command.flags.contains(&flag);
    let mut categories = Vec::new();
    if has("write") {
        categories.push("@write");
    }
    if has("readonly") {
        categories.push("@read");
    }
    match command.group {
        "string" => categories.push("@string"),
        "generic" => categories.push("@keyspace"),
        "connection" => categories.push("@connection"),
        _ => {}
    }
    if has("admin") {
        categories.extend(["@admin", "@dangerous"]);
    }
    if command.name == "keys" {
        categories.push("@dangerous");
    }
    categories.push(if has("fast") { "@fast" } else { "@slow" });
    categories
}

fn specify_keys(command: &Command, reply: &mut Reply<'_>) {
    let (first, last, step) = command.keys;
    if first == 0 {
        return reply.array(0);
    }
    reply.array(1);
    reply.map(3);
    reply.text("flags");
    let access = if command.flags.contains(&"write") { "RW" } else { "RO" };
    reply.set(2);
    reply.simple(access);
    reply.simple(if access == "RW" { "update" } else { "access" });
    reply.text("begin_search");
    reply.map(2);
    reply.text("type");
    reply.text("index");
    reply.text("spec");
    reply.map(1);
    reply.text("index");
    reply.integer(first.into());
    reply.text("find_keys");
    reply.map(2);
    reply.text("type");
    reply.text("range");
    reply.text("spec");
    reply.map(3);
    // Relative to the first key, or from the end.
    let last = if last < 0 { last } else { last - first };
    for (field, number) in [("lastkey", last), ("keystep", step), ("limit", 0)] {
        reply.text(field);
        reply.integer(number.into());
    }
}

/// One pair of `COMMAND DOCS`.
pub(super) fn document(command: &Command, reply: &mut Reply<'_>) {
    let arguments = Argument::all(command.syntax);
    reply.text(command.name);
    reply.map(if arguments.is_empty() { 4 } else { 5 });
    for (field, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group),
        ("complexity", command.complexity),
    ] {
        reply.text(field);
        reply.text(text);
    }
    if !arguments.is_empty() {
        reply.text("arguments");
        reply.array(arguments.len());
        arguments.iter().for_each(|argument| argument.write(reply));
    }
}

/// One argument of a command.
#[derive(Debug, PartialEq, Eq)]
struct Argument<'a> {
    name: String,
    kind: &'static str,
    token: Option<&'a str>,
    is_optional: bool,
    is_multiple: bool,
    parts: Vec<Argument<'a>>,
}

impl<'a> Argument<'a> {
    /// Reads a line of syntax: `[x]` is optional, `x|y` a choice, `x ...` more of the same, capitals are words to be written.
    fn all(syntax: &'a str) -> Vec<Self> {
        let mut arguments: Vec<Self> = Vec::new();
        let mut rest = syntax.trim();
        while !rest.is_empty() {
            let inside = rest.strip_prefix('[').map(|inside| &inside[..closing(inside)]);
            if let Some(inside) = inside {
                rest = rest[inside.len() + 2..].trim_start();
                match inside.strip_suffix(" ...") {
                    // `key [key ...]`, `key value [key value ...]`: more of what stands before.
                    Some(more) if is_end(&arguments, more) => repeat(&mut arguments, more),
                    Some(more) => {
                        arguments.push(Self { is_optional: true, is_multiple: true, ..Self::of(more) })
                    }
                    None => arguments.push(Self { is_optional: true, ..Self::of(inside) }),
                }
            } else {
                let word = &rest[..rest.find(' ').unwrap_or(rest.len())];
                rest = rest[word.len()..].trim_start();
                arguments.push(Self::of(word));
            }
        }
        arguments
    }

    /// What stands between two brackets, or one word.
    fn of(text: &'a str) -> Self {
        let plain = |kind| Self {
            name: text.to_lowercase(),
            kind,
            token: None,
            is_optional: false,
            is_multiple: false,
            parts: Vec::new(),
        };
        let is_token =
            |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase());
        if let [first, value] = text.split(' ').collect::<Vec<_>>()[..]
            && is_token(first)
            && !value.contains(['[', '|'])
        {
            return Self { token: Some(first), name: value.to_owned(), ..Self::of(value) };
        }
        if text.contains(' ') {
            let parts = Self::all(text);
            return Self { name: parts[0].name.clone(), kind: "block", parts, ..plain("block") };
        }
        if text.contains('|') {
            let parts: Vec<Self> = text.split('|').map(Self::of).collect();
            return Self { name: "condition".to_owned(), parts, ..plain("oneof") };
        }
        if is_token(text) {
            return Self { token: Some(text), ..plain("pure-token") };
        }
        plain(match text {
            "key" => "key",
            "pattern" => "pattern",
            "index" | "start" | "end" | "offset" | "increment" | "decrement" | "count" | "cursor"
            | "protover" => "integer",
            _ => "string",
        })
    }

    fn write(&self, reply: &mut Reply<'_>) {
        let flags = [("optional", self.is_optional), ("multiple", self.is_multiple)];
        let flags: Vec<&str> =
            flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
        let is_leaf = self.parts.is_empty();
        let is_key = self.kind == "key";
        let fields = 2
            + usize::from(is_leaf)
            + usize::from(is_key)
            + usize::from(self.token.is_some())
            + usize::from(!flags.is_empty())
            + usize::from(!is_leaf);
        reply.map(fields);
        reply.text("name");
        reply.text(&self.name);
        reply.text("type");
        reply.text(self.kind);
        if is_leaf {
            reply.text("display_text");
            reply.text(&self.name);
        }
        if is_key {
            reply.text("key_spec_index");
            reply.integer(0);
        }
        if let Some(token) = self.token {
            reply.text("token");
            reply.text(token);
        }
        if !flags.is_empty() {
            reply.text("flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if !is_leaf {
            reply.text("arguments");
            reply.array(self.parts.len());
            self.parts.iter().for_each(|part| part.write(reply));
        }
    }
}

/// Where the bracket closes that was opened before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let closes = |letter: char| {
        depth += match letter {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth == 0
    };
    text.find(closes).expect("every bracket of the table closes")
}

/// Whether the last arguments are just these words.
fn is_end(arguments: &[Argument<'_>], words: &str) -> bool {
    let words: Vec<&str> = words.split(' ').collect();
    let behind = arguments.len().checked_sub(words.len()).map(|at| &arguments[at..]);
    behind.is_some_and(|behind| behind.iter().zip(&words).all(|(argument, word)| argument.name == *word))
}

fn repeat<'a>(arguments: &mut Vec<Argument<'a>>, words: &'a str) {
    let count = words.split(' ').count();
    let parts = arguments.split_off(arguments.len() - count);
    let repeated = match count {
        1 => Argument { is_multiple: true, ..Argument::of(words) },
        _ => Argument {
            name: "data".to_owned(),
            kind: "block",
            token: None,
            is_optional: false,
            is_multiple: true,
            parts,
        },
    };
    arguments.push(repeated);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::all;

    #[test]
    fn arguments_are_read_from_the_syntax() {
        let names =
            |syntax| Argument::all(syntax).into_iter().map(|argument| argument.name).collect::<Vec<_>>();
        assert_eq!(names("key value [NX|XX] [GET]"), ["key", "value", "condition", "get"]);
        let many = Argument::all("key [key ...]");
        assert!(many.len() == 1 && many[0].is_multiple && many[0].kind == "key" && !many[0].is_optional);
        let pairs = Argument::all("key value [key value ...]");
        assert!(
            pairs.len() == 1 && pairs[0].kind == "block" && pairs[0].parts.len() == 2 && pairs[0].is_multiple
        );
        let scan = Argument::all("cursor [MATCH pattern] [COUNT count]");
        assert_eq!((scan[1].token, scan[1].kind, scan[1].is_optional), (Some("MATCH"), "pattern", true));
        let nested = Argument::all("[protover [AUTH username password]]");
        assert_eq!((nested.len(), nested[0].kind, nested[0].parts.len()), (1, "block", 2));
    }

    #[test]
    fn every_command_is_documented() {
        for command in all() {
            let arguments = Argument::all(command.syntax);
            assert!(arguments.iter().all(|argument| !argument.name.is_empty()), "{}", command.name);
            assert_eq!(command.syntax.is_empty(), arguments.is_empty());
            assert!(command.summary.ends_with('.'), "{}", command.name);
        }
    }
}
