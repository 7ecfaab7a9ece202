//! `get`, `put`, `delete`: one key, one answer.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use io_oi_client::{Client, Expected, Meta, Ticket, Visible, WriteError};
use io_oi_record::limits::VALUE_BYTES_MAX;
use io_oi_record::{Outcome, Receipt, RefusalCode, Sequence};
use serde_json::{Map, Value, json};

use crate::args::{Delete, Form, Get, Patience, Put};
use crate::bytes;
use crate::failure::Failure;
use crate::output::{Output, duration};

/// `io_oi get KEY`
pub(crate) fn get(client: &mut Client, output: Output, get: &Get) -> Result<(), Failure> {
    let key = form_bytes(&get.key, &get.form)?;
    let mut value = Vec::new();
    let found = match get.committed {
        true => client.get_committed(&key, &mut value)?,
        false => client.get(&key, &mut value)?,
    };
    let Some(meta) = found else {
        if output.is_json() {
            let mut object = key_object(&key, &get.form);
            object.insert("found".to_owned(), false.into());
            output.result(object, String::new)?;
        }
        return Err(Failure::no_key(&bytes::escaped(&key)));
    };
    if get.raw && !output.is_json() {
        return output.raw(&value);
    }
    let mut object = key_object(&key, &get.form);
    object.insert("found".to_owned(), true.into());
    insert_bytes(&mut object, "value", &value, &get.form);
    object.extend(meta_object(&meta));
    output.result(object, || shown(&value, &get.form))?;
    output.remark(&meta_text(&meta));
    Ok(())
}

/// `io_oi put KEY VALUE`
pub(crate) fn put(client: &mut Client, output: Output, put: &Put) -> Result<(), Failure> {
    let key = form_bytes(&put.key, &put.form)?;
    let value = match put.value.as_bytes() {
        b"-" => standard_input(&put.form)?,
        _ => form_bytes(&put.value, &put.form)?,
    };
    let expected = match put.if_absent {
        true => Some(Expected::Absent),
        false => put.condition.if_sequence.map(|sequence| Expected::Sequence(Sequence(sequence))),
    };
    let durability = put.patience.durability;
    write(client, output, "put", &key, &put.form, &put.patience, |client| match expected {
        Some(expected) => client.compare_and_set_with(&key, expected, &value, durability),
        None => client.put_with(&key, &value, durability),
    })
}

/// `io_oi delete KEY`
pub(crate) fn delete(client: &mut Client, output: Output, delete: &Delete) -> Result<(), Failure> {
    let key = form_bytes(&delete.key, &delete.form)?;
    let durability = delete.patience.durability;
    let expected = delete.condition.if_sequence.map(|sequence| Expected::Sequence(Sequence(sequence)));
    write(client, output, "delete", &key, &delete.form, &delete.patience, |client| match expected {
        Some(expected) => client.compare_and_delete_with(&key, expected, durability),
        None => client.delete_with(&key, durability),
    })
}

/// Bytes as printed to people.
pub(crate) fn shown(value: &[u8], form: &Form) -> String {
    if form.hex { bytes::hex(value) } else { bytes::escaped(value) }
}

/// An object that names its key.
pub(crate) fn key_object(key: &[u8], form: &Form) -> Map<String, Value> {
    let mut object = Map::new();
    insert_bytes(&mut object, "key", key, form);
    object
}

/// `field` or `field_hex`.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, field: &str, value: &[u8], form: &Form) {
    match form.hex {
        true => drop(object.insert(format!("{field}_hex"), bytes::hex(value).into())),
        false => bytes::insert_json(object, field, value),
    }
}

/// The bytes that an argument stands for.
pub(crate) fn form_bytes(argument: &OsString, form: &Form) -> Result<Vec<u8>, Failure> {
    if !form.hex {
        return Ok(argument.as_bytes().to_vec());
    }
    let text = OsStr::to_str(argument)
        .ok_or_else(|| Failure::Usage { what: "--hex: the argument is not hexadecimal".to_owned() })?;
    bytes::from_hex(text).map_err(|what| Failure::Usage { what: format!("--hex: {what}") })
}

fn write(
    client: &mut Client,
    output: Output,
    operation: &str,
    key: &[u8],
    form: &Form,
    patience: &Patience,
    submit: impl FnOnce(&mut Client) -> Result<Ticket, io_oi_client::PutError>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let ticket = submit(client)?;
    let receipt = client.wait(ticket, started + patience.timeout)?;
    let took = started.elapsed();
    match receipt.outcome {
        Outcome::Accepted => {
            let mut object = key_object(key, form);
            object.insert("operation".to_owned(), operation.into());
            object.extend(receipt_object(ticket, &receipt, took));
            output.result(object, || {
                format!(
                    "{} as sequence {} of shard {}, {} in {}",
                    if operation == "put" { "written" } else { "deleted" },
                    receipt.sequence,
                    ticket.shard,
                    receipt.durability,
                    duration(took.as_nanos() as u64)
                )
            })
        }
        Outcome::Refused(code) => Err(refused(key, code)),
    }
}

fn refused(key: &[u8], code: RefusalCode) -> Failure {
    let help = matches!(code, RefusalCode::PreconditionFailed)
        .then(|| format!("see what is there: io_oi get '{}'", bytes::escaped(key)));
    match (WriteError::Refused { code }).into() {
        Failure::Refused { name, text, .. } => Failure::Refused { name, text, help },
        failure => failure,
    }
}

fn receipt_object(ticket: Ticket, receipt: &Receipt, took: Duration) -> Map<String, Value> {
    let object = json!({
        "accepted": receipt.outcome == Outcome::Accepted,
        "shard": ticket.shard.get(),
        "session_sequence": ticket.session_sequence.get(),
        "sequence": receipt.sequence.get(),
        "epoch": receipt.epoch.get(),
        "time_ns": receipt.time.get(),
        "durability": receipt.durability.to_string(),
        "wait_ns": took.as_nanos() as u64,
    });
    let Value::Object(object) = object else { unreachable!("json! of an object is an object") };
    object
}

fn meta_object(meta: &Meta) -> Map<String, Value> {
    let object = json!({
        "sequence": meta.sequence.get(),
        "epoch": meta.epoch.get(),
        "stage": stage_word(meta.stage),
        "time_ns": meta.time.get(),
        "bytes": meta.value_bytes,
    });
    let Value::Object(object) = object else { unreachable!("json! of an object is an object") };
    object
}

fn meta_text(meta: &Meta) -> String {
    let (sequence, epoch, stage) = (meta.sequence, meta.epoch, stage_word(meta.stage));
    format!("{stage}, sequence {sequence}, epoch {epoch}, {} bytes", meta.value_bytes)
}

/// "tentative" or "committed".
pub(crate) fn stage_word(stage: Visible) -> &'static str {
    match stage {
        Visible::Tentative => "tentative",
        Visible::Committed => "committed",
    }
}

/// The whole standard input, but never more than a value can hold and one byte that proves it is too long.
pub(crate) fn standard_input(form: &Form) -> Result<Vec<u8>, Failure> {
    let limit = if form.hex { 4 * VALUE_BYTES_MAX as u64 } else { VALUE_BYTES_MAX as u64 + 1 };
    let mut value = Vec::new();
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut value);
    read.map_err(|error| Failure::other(format!("cannot read the value from standard input: {error}")))?;
    if !form.hex {
        return Ok(value);
    }
    form_bytes(&OsStr::from_bytes(&value).to_owned(), form)
}
