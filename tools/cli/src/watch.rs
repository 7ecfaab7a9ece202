//! `io_oi watch PREFIX`: committed changes as they happen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use io_oi_client::{Change, Client};
use io_oi_record::Operation;
use serde_json::{Map, Value, json};

use crate::args::{Form, Watch};
use crate::bytes::escaped_short;
use crate::data::{form_bytes, insert_bytes, key_object, shown};
use crate::failure::Failure;
use crate::output::Output;

/// Prints until interrupted, until `--count` changes or `--seconds`.
pub(crate) fn watch(
    client: &mut Client,
    output: Output,
    watch: &Watch,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let prefix = form_bytes(&watch.prefix, &watch.form)?;
    let mut subscription = client.subscribe(&prefix)?;
    output.remark(&match prefix.is_empty() {
        true => "watching every key, Ctrl-C ends".to_owned(),
        false => format!("watching keys that start with `{}`, Ctrl-C ends", escaped_short(&prefix, 80)),
    });
    let end = watch.seconds.map(|seconds| Instant::now() + seconds);
    let mut seen = 0;
    let mut was_attached = true;
    while !interrupted.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        let mut lines: Vec<(Map<String, Value>, String)> = Vec::new();
        subscription.poll(client, |change| lines.extend(line(&change, &watch.form)))?;
        let idle = lines.is_empty();
        for (object, text) in lines {
            let is_change = object.contains_key("operation");
            output.result(object, || text)?;
            seen += u64::from(is_change);
            if watch.count.is_some_and(|count| seen >= count) {
                return Ok(());
            }
        }
        tell_absence(client, output, &mut was_attached)?;
        if idle {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Between two looks at an idle feed: a person does not see the difference, and a core stays free.
const PAUSE: Duration = Duration::from_millis(2);
const _: () = assert!(PAUSE.as_millis() < 50, "changes should appear at once to the eye");

/// Says when the node goes and comes back; fails when the session cannot go on.
fn tell_absence(client: &mut Client, output: Output, was_attached: &mut bool) -> Result<(), Failure> {
    client.tend();
    if let Some(reason) = client.lost_reason() {
        return Err(Failure::Unreachable { what: format!("the session ended: {reason}"), help: None });
    }
    if client.is_attached() != *was_attached {
        *was_attached = client.is_attached();
        output.remark(match *was_attached {
            true => "the node is back",
            false => "the node is away; waiting for it",
        });
    }
    Ok(())
}

fn line(change: &Change<'_>, form: &Form) -> Option<(Map<String, Value>, String)> {
    match change {
        Change::Record { shard, epoch, time, record } => {
            let proposal = record.proposal();
            let written = proposal.operators_write().unwrap_or(proposal);
            let mut object = key_object(written.key, form);
            let (operation, text) = match written.operation {
                Operation::Put => {
                    insert_bytes(&mut object, "value", written.value, form);
                    ("put", format!("{} = {}", shown(written.key, form), shown(written.value, form)))
                }
                Operation::Delete => ("delete", format!("{} deleted", shown(written.key, form))),
                _ => return None, // The house's own records carry no key.
            };
            object.insert("operation".to_owned(), operation.into());
            object.insert("shard".to_owned(), shard.get().into());
            object.insert("sequence".to_owned(), record.sequence.get().into());
            object.insert("epoch".to_owned(), epoch.get().into());
            object.insert("time_ns".to_owned(), time.get().into());
            object.insert("session".to_owned(), record.session.to_string().into());
            Some((object, format!("{:>8}  {text}", record.sequence)))
        }
        Change::Gap { shard, after, missed } => {
            let object =
                json!({"gap": {"shard": shard.get(), "after_sequence": after.get(), "missed": missed}});
            let Value::Object(object) = object else { unreachable!("json! of an object is an object") };
            let count = missed.map_or_else(|| "an unknown number of".to_owned(), |missed| missed.to_string());
            Some((
                object,
                format!("     gap  {count} changes of shard {shard} after sequence {after} were missed"),
            ))
        }
    }
}
