//! Reads market-by-order events from several `.dbn` and `.dbn.zst` files in the given order.
//!
//! Invariant: event numbers depend on the files alone, so that a resumed run counts the same events the same way.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use dbn::decode::{DecodeRecordRef, DynDecoder};
use dbn::{MboMsg, VersionUpgradePolicy};
use thiserror::Error;

use super::event::{Action, Event, Instrument, Side};

/// An iterator over the events of several files.
pub(crate) struct Feed {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<OpenFile>,
    publishers: HashMap<u32, u16>,
    events: u64,
    skipped: u64,
}

struct OpenFile {
    path: PathBuf,
    decoder: DynDecoder<'static, BufReader<File>>,
}

/// A file that cannot be replayed.
#[derive(Debug, Error)]
pub(crate) enum FeedError {
    /// The file is missing, unreadable, not DBN, or its header is broken.
    #[error(
        "cannot open {path} as a DBN file: {reason}; give .dbn or .dbn.zst files of schema mbo (versions 1 to 3)"
    )]
    Open {
        /// Which file.
        path: PathBuf,
        /// The decoder's own words.
        reason: String,
    },
    /// A record in the middle is broken or the file is cut short.
    #[error("{path} is broken after event {event}: {reason}; fetch the file again")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// The last event that could be read, counted over all files.
        event: u64,
        /// The decoder's own words.
        reason: String,
    },
}

impl Feed {
    /// Starts at the first event of the first file; every file is opened once here, so that a bad name fails early.
    pub(crate) fn open(files: &[PathBuf]) -> Result<Self, FeedError> {
        for path in files {
            open_file(path)?;
        }
        Ok(Self {
            files: Vec::from(files).into_iter(),
            open: None,
            publishers: HashMap::new(),
            events: 0,
            skipped: 0,
        })
    }

    /// The next event, `None` after the last one of the last file.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, FeedError> {
        loop {
            let Some(file) = &mut self.open else {
                let Some(path) = self.files.next() else { return Ok(None) };
                self.open = Some(open_file(&path)?);
                continue;
            };
            let broken =
                |reason: String| FeedError::Broken { path: file.path.clone(), event: self.events, reason };
            let Some(record) = file.decoder.decode_record_ref().map_err(|error| broken(error.to_string()))?
            else {
                self.open = None;
                continue;
            };
            if !record.has::<MboMsg>() {
                self.skipped += 1;
                continue;
            }
            let message = record.try_get::<MboMsg>().map_err(|error| broken(error.to_string()))?;
            self.events += 1;
            return Ok(Some(event_of(self.events, message, &mut self.publishers)));
        }
    }

    /// Records of other schemas that were passed over.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}

fn open_file(path: &Path) -> Result<OpenFile, FeedError> {
    let decoder = DynDecoder::from_file(path, VersionUpgradePolicy::UpgradeToV3)
        .map_err(|error| FeedError::Open { path: path.to_path_buf(), reason: error.to_string() })?;
    Ok(OpenFile { path: path.to_path_buf(), decoder })
}

fn event_of(number: u64, message: &MboMsg, publishers: &mut HashMap<u32, u16>) -> Event {
    let publisher = message.hd.publisher_id;
    let first = *publishers.entry(message.hd.instrument_id).or_insert(publisher);
    Event {
        number,
        instrument: Instrument {
            id: message.hd.instrument_id,
            publisher: (publisher != first).then_some(publisher),
        },
        action: Action::from_letter(message.action as u8),
        side: Side::from_letter(message.side as u8),
        order_id: message.order_id,
        price: message.price,
        size: message.size,
        flags: message.flags.raw(),
        ts_event: message.hd.ts_event,
        ts_recv: message.ts_recv,
    }
}
