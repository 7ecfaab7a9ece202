//! Key traces of a real market: which orders and price levels an exchange's events name.
//!
//! Invariant: the trace is a function of the files alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use dbn::decode::{DecodeRecordRef, DynDecoder};
use dbn::{MboMsg, VersionUpgradePolicy};

use super::traces::{Trace, cold};
use crate::scrambled;

/// The traces of every market file (`.dbn`, `.dbn.zst`, schema mbo) in a folder, in the order of their names; none
/// when there is no such file.
pub fn traces(folder: &Path) -> Result<Vec<Trace>, dbn::Error> {
    let files = files_in(folder);
    let (mut orders, mut levels, mut book) = (Vec::new(), Vec::new(), Vec::new());
    for path in &files {
        let mut decoder = DynDecoder::from_file(path, VersionUpgradePolicy::UpgradeToV3)?;
        while let Some(record) = decoder.decode_record_ref()? {
            let Some(event) = record.get::<MboMsg>() else { continue };
            let instrument = scrambled(event.hd.instrument_id.into());
            let order = scrambled(instrument ^ event.order_id);
            let level = scrambled(!instrument ^ event.price as u64 ^ (event.side as u64) << 56);
            orders.push(order);
            levels.push(level);
            book.extend([order, level]);
        }
    }
    if book.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![
        tenth("market orders", orders, 10),
        tenth("market levels", levels, 10),
        tenth("market orders and levels", book.clone(), 10),
        tenth("market, a small cache", book, 50),
    ])
}

/// A cold cache with room for one in `share` of the keys.
fn tenth(name: &'static str, keys: Vec<u64>, share: usize) -> Trace {
    let distinct = keys.iter().collect::<HashSet<_>>().len();
    cold(name, keys, (distinct / share).max(1))
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".dbn") || name.ends_with(".dbn.zst")
    });
    files.sort();
    files
}
