//! Keys of whatever value.

use super::{Command, Look, Run, is_word};
use crate::edit::Edit;
use crate::error::CommandError;
use crate::glob;
use crate::number::integer;
use crate::request::Arguments;
use crate::store::{Gather, Plan, Store, is_key};

macro_rules! command {
    ($name:literal, $arity:literal, $flags:expr, $keys:expr, $since:literal, $complexity:literal, $syntax:literal, $summary:literal, $run:expr) => {
        Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: "generic",
            since: $since,
            complexity: $complexity,
            summary: $summary,
            syntax: $syntax,
            run: $run,
        }
    };
}

const READ: &[&str] = &["readonly", "fast"];
const ONE: (i16, i16, i16) = (1, 1, 1);
const MANY: (i16, i16, i16) = (1, -1, 1);
const NONE: (i16, i16, i16) = (0, 0, 0);

pub(super) const COMMANDS: &[Command] = &[
    command!(
        "del",
        -2,
        &["write"],
        MANY,
        "1.0.0",
        "O(N) where N is the number of keys that will be removed.",
        "key [key ...]",
        "Deletes one or more keys, one record each.",
        Run::Edit(del)
    ),
    command!(
        "unlink",
        -2,
        &["write", "fast"],
        MANY,
        "4.0.0",
        "O(N) where N is the number of keys that will be removed.",
        "key [key ...]",
        "Deletes one or more keys, one record each.",
        Run::Edit(del)
    ),
    command!(
        "exists",
        -2,
        READ,
        MANY,
        "1.0.0",
        "O(N) where N is the number of keys to check.",
        "key [key ...]",
        "Determines whether one or more keys exist.",
        Run::Look(exists)
    ),
    command!(
        "touch",
        -2,
        READ,
        MANY,
        "3.2.1",
        "O(N) where N is the number of keys that will be touched.",
        "key [key ...]",
        "Returns the number of existing keys out of those specified.",
        Run::Look(exists)
    ),
    command!(
        "type",
        2,
        READ,
        ONE,
        "1.0.0",
        "O(1)",
        "key",
        "Determines the type of value stored at a key.",
        Run::Look(type_of)
    ),
    command!(
        "ttl",
        2,
        READ,
        ONE,
        "1.0.0",
        "O(1)",
        "key",
        "Returns the expiration time in seconds of a key: none has one.",
        Run::Look(ttl)
    ),
    command!(
        "pttl",
        2,
        READ,
        ONE,
        "2.6.0",
        "O(1)",
        "key",
        "Returns the expiration time in milliseconds of a key: none has one.",
        Run::Look(ttl)
    ),
    command!(
        "expiretime",
        2,
        READ,
        ONE,
        "7.0.0",
        "O(1)",
        "key",
        "Returns the expiration time of a key as a Unix timestamp: none has one.",
        Run::Look(ttl)
    ),
    command!(
        "pexpiretime",
        2,
        READ,
        ONE,
        "7.0.0",
        "O(1)",
        "key",
        "Returns the expiration time of a key as a Unix milliseconds timestamp: none has one.",
        Run::Look(ttl)
    ),
    command!(
        "persist",
        2,
        &["write", "fast"],
        ONE,
        "2.2.0",
        "O(1)",
        "key",
        "Removes the expiration time of a key: none has one.",
        Run::Look(persist)
    ),
    command!(
        "keys",
        2,
        &["readonly"],
        NONE,
        "1.0.0",
        "O(N) with N being the number of keys in the database.",
        "pattern",
        "Returns all key names that match a pattern.",
        Run::Look(keys)
    ),
    command!(
        "scan",
        -2,
        &["readonly"],
        NONE,
        "2.8.0",
        "O(1) for every call. O(N) for a complete iteration.",
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Iterates over the key names in the database.",
        Run::Look(scan)
    ),
    command!(
        "randomkey",
        1,
        &["readonly"],
        NONE,
        "1.0.0",
        "O(1)",
        "",
        "Returns a random key name from the database.",
        Run::Look(randomkey)
    ),
];

fn del<'a>(arguments: &Arguments<'a>) -> Result<Plan<'a>, CommandError> {
    // A key that cannot exist was not there.
    let parts = arguments.from(1).filter(|key| is_key(key)).map(|key| (key, Edit::Delete)).collect();
    Ok(Plan { parts, gather: Gather::Sum })
}

fn is_there(look: &mut Look<'_, '_>, key: &[u8]) -> Result<bool, CommandError> {
    let found = look.store()?.read(key, &mut Vec::new())?.is_some();
    look.counts.count_read(found);
    Ok(found)
}

fn exists(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let mut count = 0;
    for key in arguments.from(1) {
        count += i64::from(is_there(look, key)?);
    }
    look.reply.integer(count);
    Ok(())
}

fn type_of(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let found = is_there(look, arguments.at(1))?;
    look.reply.simple(if found { "string" } else { "none" });
    Ok(())
}

fn ttl(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let found = is_there(look, arguments.at(1))?;
    look.reply.integer(if found { TTL_NONE } else { TTL_NO_KEY });
    Ok(())
}

const TTL_NONE: i64 = -1;
const TTL_NO_KEY: i64 = -2;

fn persist(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    look.reply.integer(0);
    Ok(())
}

fn keys(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let pattern = arguments.at(1);
    let mut found: Vec<Vec<u8>> = Vec::new();
    let bytes_max = look.house.limits().output_bytes_max;
    let mut bytes = 0;
    look.store()?
        .client_mut()
        .scan_committed(&[], |key, _, _| {
            if bytes <= bytes_max && glob::matches(pattern, key) {
                bytes += key.len() + KEY_COST_BYTES;
                found.push(key.to_vec());
            }
        })
        .map_err(CommandError::Read)?;
    if bytes > bytes_max {
        return Err(CommandError::Unsupported("so many keys do not fit one answer: use SCAN"));
    }
    give_keys(look, &found);
    Ok(())
}

/// What a key costs in a list and in an answer, beside its bytes.
const KEY_COST_BYTES: usize = 32;

fn give_keys(look: &mut Look<'_, '_>, keys: &[Vec<u8>]) {
    look.reply.array(keys.len());
    keys.iter().for_each(|key| look.reply.bulk(key));
}

fn scan(look: &mut Look<'_, '_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let cursor = std::str::from_utf8(arguments.at(1)).ok().and_then(|text| text.parse().ok());
    let cursor: u64 = cursor.ok_or(CommandError::Cursor)?;
    let (mut pattern, mut count, mut is_strings): (&[u8], usize, bool) = (b"*", SCAN_COUNT, true);
    let mut options = arguments.from(2);
    while let Some(option) = options.next() {
        let value = options.next().ok_or(CommandError::Syntax)?;
        if is_word(option, "MATCH") {
            pattern = value;
        } else if is_word(option, "COUNT") {
            let wanted = integer(value).ok_or(CommandError::NotInteger)?;
            count = usize::try_from(wanted).ok().filter(|count| *count > 0).ok_or(CommandError::Syntax)?;
        } else if is_word(option, "TYPE") {
            is_strings = is_word(value, "string");
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let (next, mut found) = walk(look.store()?, cursor, count.min(SCAN_COUNT_MAX))?;
    found.retain(|key| is_strings && glob::matches(pattern, key));
    look.reply.array(2);
    look.reply.text(&next.to_string());
    give_keys(look, &found);
    Ok(())
}

const SCAN_COUNT: usize = 10;
/// More would keep everybody else waiting; the cursor goes on.
const SCAN_COUNT_MAX: usize = 10_000;

/// Keys from a place in the table on, and the place to go on from; 0 is the beginning and the end.
fn walk(store: &mut Store, cursor: u64, count: usize) -> Result<(u64, Vec<Vec<u8>>), CommandError> {
    let mut found = Vec::new();
    let mut place = Some(cursor);
    let places = (count as u64).saturating_mul(PLACES_PER_KEY).max(PLACES_MIN);
    let mut places_left = places;
    while let Some(from) = place
        && found.len() < count
        && places_left > 0
    {
        let step = places_left.min(PLACES_MIN);
        let visit = |key: &[u8], _: &[u8], _: &io_oi_client::Meta| found.push(key.to_vec());
        place = store.client_mut().scan_committed_from(from, step, visit).map_err(CommandError::Read)?;
        places_left -= step;
    }
    Ok((place.unwrap_or(0), found))
}

/// One call looks at so many places of the table for each key asked for, most of which may be empty.
const PLACES_PER_KEY: u64 = 64;
const PLACES_MIN: u64 = 64;

fn randomkey(look: &mut Look<'_, '_>, _: &Arguments<'_>) -> Result<(), CommandError> {
    let mut random = look.house.random();
    let store = look.store()?;
    let places = store.client().scan_places();
    // From a random place to the end, then from the beginning.
    for begin in [random % places.max(1), 0] {
        let mut place = Some(begin);
        while let Some(from) = place {
            let mut found: Vec<Vec<u8>> = Vec::new();
            let visit = |key: &[u8], _: &[u8], _: &io_oi_client::Meta| found.push(key.to_vec());
            place = store
                .client_mut()
                .scan_committed_from(from, PLACES_MIN, visit)
                .map_err(CommandError::Read)?;
            if !found.is_empty() {
                random /= places.max(1);
                look.reply.bulk(&found[random as usize % found.len()]);
                return Ok(());
            }
        }
    }
    look.reply.null();
    Ok(())
}
