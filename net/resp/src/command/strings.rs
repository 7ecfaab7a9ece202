//! Strings: the same bytes that every other client of the store sees.

use super::{Command, Look, Run, is_word};
use crate::edit::{Edit, Gives, When};
use crate::error::CommandError;
use crate::number::integer;
use crate::request::Arguments;
use crate::store::{Gather, Plan};

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const WRITE_SLOW: &[&str] = &["write", "denyoom"];

macro_rules! command {
    ($name:literal, $arity:literal, $flags:expr, $keys:expr, $since:literal, $complexity:literal, $syntax:literal, $summary:literal, $run:expr) => {
        Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: "string",
            since: $since,
            complexity: $complexity,
            summary: $summary,
            syntax: $syntax,
            run: $run,
        }
    };
}

const ONE: (i16, i16, i16) = (1, 1, 1);

pub(super) const COMMANDS: &[Command] = &[
    command!(
        "get",
        2,
        READ,
        ONE,
        "1.0.0",
        "O(1)",
        "key",
        "Returns the string value of a key.",
        Run::Look(get)
    ),
    command!(
        "set",
        -3,
        WRITE_SLOW,
        ONE,
        "1.0.0",
        "O(1)",
        "key value [NX|XX] [GET] [KEEPTTL]",
        "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
        Run::Edit(set)
    ),
    command!(
        "mget",
        -2,
        READ,
        (1, -1, 1),
        "1.0.0",
        "O(N) where N is the number of keys to retrieve.",
        "key [key ...]",
        "Returns the string values of one or more keys, each as it is when it is read.",
        Run::Look(mget)
    ),
    command!(
        "mset",
        -3,
        WRITE_SLOW,
        (1, -1, 2),
        "1.0.1",
        "O(N) where N is the number of keys to set.",
        "key value [key value ...]",
        "Sets the string values of one or more keys, one record each: a reader may see the first before the last.",
        Run::Edit(mset)
    ),
    command!(
        "setnx",
        3,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key value",
        "Set the string value of a key only when the key doesn't exist.",
        Run::Edit(setnx)
    ),
    command!(
        "getset",
        3,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key value",
        "Returns the previous string value of a key after setting it to a new value.",
        Run::Edit(getset)
    ),
    command!(
        "getdel",
        2,
        &["write", "fast"],
        ONE,
        "6.2.0",
        "O(1)",
        "key",
        "Returns the string value of a key after deleting the key.",
        Run::Edit(getdel)
    ),
    command!(
        "getex",
        -2,
        READ,
        ONE,
        "6.2.0",
        "O(1)",
        "key [PERSIST]",
        "Returns the string value of a key. Expiration times are not supported.",
        Run::Look(getex)
    ),
    command!(
        "strlen",
        2,
        READ,
        ONE,
        "2.2.0",
        "O(1)",
        "key",
        "Returns the length of a string value.",
        Run::Look(strlen)
    ),
    command!(
        "append",
        3,
        WRITE,
        ONE,
        "2.0.0",
        "O(N) where N is the length of the new value.",
        "key value",
        "Appends a string to the value of a key. Creates the key if it doesn't exist.",
        Run::Edit(append)
    ),
    command!(
        "getrange",
        4,
        &["readonly"],
        ONE,
        "2.4.0",
        "O(N) where N is the length of the returned string.",
        "key start end",
        "Returns a substring of the string stored at a key.",
        Run::Look(getrange)
    ),
    command!(
        "substr",
        4,
        &["readonly"],
        ONE,
        "1.0.0",
        "O(N) where N is the length of the returned string.",
        "key start end",
        "Returns a substring from a string value.",
        Run::Look(getrange)
    ),
    command!(
        "setrange",
        4,
        WRITE_SLOW,
        ONE,
        "2.2.0",
        "O(M) where M is the length of the new value.",
        "key offset value",
        "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
        Run::Edit(setrange)
    ),
    command!(
        "incr",
        2,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key",
        "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        Run::Edit(incr)
    ),
    command!(
        "decr",
        2,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key",
        "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
        Run::Edit(decr)
    ),
    command!(
        "incrby",
        3,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key increment",
        "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
        Run::Edit(incrby)
    ),
    command!(
        "decrby",
        3,
        WRITE,
        ONE,
        "1.0.0",
        "O(1)",
        "key decrement",
        "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
        Run::Edit(decrby)
    ),
];

fn get(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut value = Vec::new();
    give(look, arguments.at(1), &mut value)
}

/// The value of one key, or nothing.
fn give(look: &mut Look<'_, '_>, key: &[u8], value: &mut Vec<u8>) -> Result<(), CommandError> {
    let found = look.store()?.read(key, value)?;
    look.counts.count_read(found.is_some());
    match found {
        Some(_) => look.reply.bulk(value),
        None => look.reply.null(),
    }
    Ok(())
}

fn mget(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    look.store()?;
    look.reply.array(arguments.len() - 1);
    let mut value = Vec::new();
    for key in arguments.from(1) {
        // The list is begun: a key that cannot be read gives its error in its own place.
        if let Err(error) = give(look, key, &mut value) {
            look.reply.error(&error.to_string());
        }
    }
    Ok(())
}

fn getex(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    match arguments.get(2) {
        None => {}
        Some(option) if is_word(option, "PERSIST") && arguments.len() == 3 => {}
        Some(option) if is_expiry(option) => return Err(NO_EXPIRY),
        Some(_) => return Err(CommandError::Syntax),
    }
    get(look, arguments)
}

fn strlen(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut value = Vec::new();
    let found = look.store()?.read(arguments.at(1), &mut value)?;
    look.counts.count_read(found.is_some());
    look.reply.integer(value.len() as i64);
    Ok(())
}

fn getrange(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let begin = integer(arguments.at(2)).ok_or(CommandError::NotInteger)?;
    let end = integer(arguments.at(3)).ok_or(CommandError::NotInteger)?;
    let mut value = Vec::new();
    let found = look.store()?.read(arguments.at(1), &mut value)?;
    look.counts.count_read(found.is_some());
    look.reply.bulk(range(&value, begin, end));
    Ok(())
}

/// From one place to another, both included; negative places count from the end.
fn range(value: &[u8], begin: i64, end: i64) -> &[u8] {
    let length = value.len() as i64;
    if begin < 0 && end < 0 && begin > end {
        return &[];
    }
    let place = |place: i64| if place < 0 { place.saturating_add(length).max(0) } else { place };
    let (begin, end) = (place(begin), place(end).min(length - 1));
    if begin > end { &[] } else { &value[begin as usize..=end as usize] }
}

fn set<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let (mut when, mut gives, mut keeps, mut expires) = (When::Always, Gives::Ok, false, false);
    let mut options = arguments.from(3);
    while let Some(option) = options.next() {
        if is_word(option, "NX") && when != When::Present {
            when = When::Absent;
        } else if is_word(option, "XX") && when != When::Absent {
            when = When::Present;
        } else if is_word(option, "GET") {
            gives = Gives::Old;
        } else if is_word(option, "KEEPTTL") && !expires {
            // Nothing has a time to live, so it is kept.
            keeps = true;
        } else if is_expiry(option) && !keeps && !expires {
            let time = options.next().ok_or(CommandError::Syntax)?;
            integer(time).ok_or(CommandError::NotInteger)?;
            expires = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if expires {
        return Err(NO_EXPIRY);
    }
    Ok(Plan::one(arguments.at(1), Edit::Set { value: arguments.at(2), when, gives }))
}

fn is_expiry(option: &[u8]) -> bool {
    ["EX", "PX", "EXAT", "PXAT"].into_iter().any(|word| is_word(option, word))
}

pub(super) const NO_EXPIRY: CommandError =
    CommandError::Unsupported("keys of io_oi do not expire in this version: write without a time to live");

fn mset<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    if arguments.len().is_multiple_of(2) {
        return Err(CommandError::Arity("mset".to_owned()));
    }
    let pair = |index: usize| {
        let value = arguments.at(index + 1);
        (arguments.at(index), Edit::Set { value, when: When::Always, gives: Gives::Ok })
    };
    let parts = (1..arguments.len()).step_by(2).map(pair).collect();
    Ok(Plan { parts, gather: Gather::Last })
}

fn setnx<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let edit = Edit::Set { value: arguments.at(2), when: When::Absent, gives: Gives::Done };
    Ok(Plan::one(arguments.at(1), edit))
}

fn getset<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let edit = Edit::Set { value: arguments.at(2), when: When::Always, gives: Gives::Old };
    Ok(Plan::one(arguments.at(1), edit))
}

fn getdel<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    Ok(Plan::one(arguments.at(1), Edit::Take))
}

fn append<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    Ok(Plan::one(arguments.at(1), Edit::Append(arguments.at(2))))
}

fn setrange<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let offset = integer(arguments.at(2)).ok_or(CommandError::NotInteger)?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::Offset)?;
    Ok(Plan::one(arguments.at(1), Edit::SetRange { offset, bytes: arguments.at(3) }))
}

fn incr<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    Ok(Plan::one(arguments.at(1), Edit::Add(1)))
}

fn decr<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    Ok(Plan::one(arguments.at(1), Edit::Add(-1)))
}

fn incrby<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let number = integer(arguments.at(2)).ok_or(CommandError::NotInteger)?;
    Ok(Plan::one(arguments.at(1), Edit::Add(number)))
}

fn decrby<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    let number = integer(arguments.at(2)).ok_or(CommandError::NotInteger)?;
    let number = number.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    Ok(Plan::one(arguments.at(1), Edit::Add(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_redis() {
        let value = b"This is a string";
        let cases: [(i64, i64, &[u8]); 9] = [
            (0, 3, b"This"),
            (-3, -1, b"ing"),
            (0, -1, value),
            (10, 100, b"string"),
            (5, 3, b""),
            (-1, -3, b""),
            (-100, 3, b"This"),
            (100, 200, b""),
            (i64::MIN, i64::MAX, value),
        ];
        for (begin, end, wanted) in cases {
            assert_eq!(range(value, begin, end), wanted, "{begin} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }
}
