//! `io_oi backup` and `io_oi restore`: a running node's logs copied, and a node made of the copy.
//!
//! Invariant: a backup holds at least everything that was committed on the asked node when the command was given.

use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_node::backup::{self, BackupError, Manifest, Progress};
use io_oi_record::Sequence;
use serde_json::{Map, Value, json};

use crate::args::cluster::{Backup, Restore};
use crate::bar::Bar;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::view::{ShardStatus, View};

/// Copies the logs of the node behind the socket.
pub(crate) fn backup(output: Output, socket: &Path, arguments: &Backup) -> Result<(), Failure> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => socket.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let view = View::at(socket);
    let (node, certified) = certify(&view)?;
    let node = node.parse().map_err(Failure::other)?;
    let mut bar = Bar::new("backing up");
    let taken =
        backup::take(&dir, node, &certified, &arguments.backup, &mut |progress| show(&mut bar, progress));
    bar.clear();
    let manifest = taken.map_err(failure)?;
    let fields = object(&arguments.backup, &manifest);
    output.result(fields, || {
        let shown = arguments.backup.display();
        format!("{}\n\nProven, and complete. Keep node.key of the node in another safe place.\nNext: io_oi restore {shown} DIR", rows(&manifest))
    })
}

/// Makes a directory of a backup, or only reads it.
pub(crate) fn restore(output: Output, arguments: &Restore) -> Result<(), Failure> {
    match &arguments.dir {
        Some(dir) => make(output, arguments, dir),
        None => check(output, &arguments.backup),
    }
}

fn check(output: Output, path: &Path) -> Result<(), Failure> {
    let mut bar = Bar::new("checking");
    let checked = backup::check(path, &mut |progress| show(&mut bar, progress));
    bar.clear();
    let manifest = checked.map_err(failure)?;
    output.result(object(path, &manifest), || format!("{}\n\nProven.", rows(&manifest)))
}

fn make(output: Output, arguments: &Restore, dir: &Path) -> Result<(), Failure> {
    let own_key = arguments.own_key.as_deref();
    let mut bar = Bar::new("restoring");
    let restored = backup::restore(&arguments.backup, dir, own_key, &mut |progress| show(&mut bar, progress));
    bar.clear();
    let restored = restored.map_err(failure)?;
    let mut fields = object(dir, &restored.manifest);
    fields.insert("node".to_owned(), restored.node.to_string().into());
    output.result(fields, || {
        let (rows, shown, node) = (rows(&restored.manifest), dir.display(), restored.node);
        let next = match own_key {
            Some(_) => format!("Next: io_oi node run --dir {shown}"),
            None => format!(
                "Next: io_oi peer add NAME={node}@HOST:PORT\n      io_oi node run --dir {shown} --set listen=HOST:PORT\n      io_oi peer promote NAME"
            ),
        };
        format!("{rows}\n\nProven. {shown} is node {node}.\n{next}")
    })
}

/// Waits until everything that is committed now is certified, too: then a log proves it to strangers.
fn certify(view: &View) -> Result<(String, Vec<Sequence>), Failure> {
    let committed: Vec<u64> = view.status()?.shards.iter().map(|shard| shard.committed).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let status = view.status()?;
        let lacks = |(shard, committed): (&ShardStatus, &u64)| shard.certified < *committed;
        let Some(late) = status.shards.iter().zip(&committed).find(|pair| lacks(*pair)) else {
            let certified = status.shards.iter().map(|shard| Sequence(shard.certified));
            return Ok((status.node, certified.collect()));
        };
        if Instant::now() > end {
            return Err(Failure::with_help(
                format!("shard {} certifies nothing: its votes do not make a quorum", late.0.shard),
                "a backup needs a group that works: see `io_oi peer list` and `io_oi leader show`",
            ));
        }
        std::thread::sleep(LOOK);
    }
}

fn show(bar: &mut Bar, progress: Progress) {
    bar.show(progress.shard, progress.bytes, progress.bytes_max);
}

fn failure(error: BackupError) -> Failure {
    match error {
        error @ (BackupError::NotProven { .. } | BackupError::Short { .. }) => Failure::NotProven {
            what: error.to_string(),
            help: "use another backup, or take one of another node: each proves the same".to_owned(),
        },
        error => Failure::other(error),
    }
}

fn object(path: &Path, manifest: &Manifest) -> Map<String, Value> {
    let shards: Vec<Value> = manifest
        .shards
        .iter()
        .map(|content| {
            json!({
                "shard": content.shard.get(),
                "sequence": content.sequence.get(),
                "block": content.block.to_string(),
                "entries": content.frames,
                "bytes": content.bytes,
            })
        })
        .collect();
    let object = json!({
        "path": path.display().to_string(),
        "proven": true,
        "cluster": manifest.cluster.to_string(),
        "node": manifest.node.to_string(),
        "begun_s": manifest.begun_s,
        "shards": shards,
    });
    let Value::Object(fields) = object else { unreachable!("json! of an object is an object") };
    fields
}

fn rows(manifest: &Manifest) -> String {
    let head = ["shard", "through sequence", "entries", "bytes"].map(str::to_owned).to_vec();
    let row = |content: &backup::ShardContent| {
        vec![
            content.shard.to_string(),
            content.sequence.to_string(),
            content.frames.to_string(),
            content.bytes.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(manifest.shards.iter().map(row)).collect();
    table(&rows)
}

/// Between two looks at what is certified.
const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);
