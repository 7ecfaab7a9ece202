//! Bounds a folder: how many keys it may have and how many bytes they may take.
//!
//! Invariant: the counters in the folder's cell are exactly what accepted proposals below it add up to, and never above
//! its limits. The folder of a key is everything up to and with its last `/`; its cell is the key of that name, which
//! only an operator writes.

use io_oi_arbitrator_sdk::{
    Arbitrator, CellReader, Context, Decision, Effects, Keys, Manifest, Plan, ReadSet, Write,
};

use crate::bytes::{put, u64_at};
use crate::code;

/// Bounds folders.
#[derive(Clone, Copy, Debug)]
pub struct Quota;

/// The folder would have more keys than it may.
pub const KEYS: u32 = 16;
/// The folder would take more bytes than it may.
pub const BYTES: u32 = 17;

/// Bytes of a folder's cell.
pub const FOLDER_BYTES: usize = 32;

/// A folder's cell: four numbers of 8 bytes in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// Most keys.
    pub keys_max: u64,
    /// Most bytes of keys and values.
    pub bytes_max: u64,
    /// Keys that exist.
    pub keys: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Folder {
    /// The folder whose bytes these are exactly.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Folder> {
        if bytes.len() != FOLDER_BYTES {
            return None;
        }
        Some(Folder {
            keys_max: u64_at(bytes, 0)?,
            bytes_max: u64_at(bytes, 8)?,
            keys: u64_at(bytes, 16)?,
            bytes: u64_at(bytes, 24)?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FOLDER_BYTES] {
        let mut out = [0; FOLDER_BYTES];
        for (index, number) in [self.keys_max, self.bytes_max, self.keys, self.bytes].into_iter().enumerate()
        {
            put(&mut out, 8 * index, &number.to_le_bytes());
        }
        out
    }

    /// With `stored` replaced by `next`, lengths of key and value together; a limit stands in the way of growing only.
    fn replace(self, stored: Option<u64>, next: Option<u64>) -> Result<Folder, u32> {
        let (stored_keys, next_keys) = (u64::from(stored.is_some()), u64::from(next.is_some()));
        let (stored, next) = (stored.unwrap_or(0), next.unwrap_or(0));
        let keys = self.keys.saturating_sub(stored_keys).checked_add(next_keys).ok_or(KEYS)?;
        let bytes = self.bytes.saturating_sub(stored).checked_add(next).ok_or(BYTES)?;
        if keys > self.keys_max && next_keys > stored_keys {
            return Err(KEYS);
        }
        if bytes > self.bytes_max && next > stored {
            return Err(BYTES);
        }
        Ok(Folder { keys, bytes, ..self })
    }
}

/// The folder of a key.
fn folder_of(key: &[u8]) -> Option<&[u8]> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    key.get(..=slash)
}

impl Arbitrator for Quota {
    const MANIFEST: Manifest = Manifest {
        reads: ReadSet::Explicit,
        max_state: 2048,
        max_proposal: 2048,
        max_effects: 640,
        fuel: 60_000,
        ..Manifest::named("quota", (1, 0, 0))
    };

    fn decide(context: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Decision {
        match judge(context, state, proposal, effects) {
            Ok(()) => Decision::ACCEPT,
            Err(code) => Decision::refuse(code),
        }
    }
}

fn judge(context: &Context, state: &[u8], proposal: &[u8], effects: &mut Effects<'_>) -> Result<(), u32> {
    let write = Write::only(proposal).ok_or(code::MALFORMED)?;
    let name = folder_of(write.key).ok_or(code::MALFORMED)?;
    if name == write.key {
        let is_folder = write.is_delete || Folder::decode(write.value).is_some();
        return match (context.is_operator(), is_folder) {
            (false, _) => Err(code::NOT_OPERATOR),
            (true, true) => Ok(()),
            (true, false) => Err(code::MALFORMED),
        };
    }
    let mut cells = CellReader::new(state);
    let (Some(folder), Some(stored)) = (cells.next(), cells.next()) else { return Err(code::STATE) };
    let folder = folder.value.and_then(Folder::decode).ok_or(code::STATE)?;
    let bytes_of = |value: &[u8]| (write.key.len() + value.len()) as u64;
    let next = if write.is_delete { None } else { Some(bytes_of(write.value)) };
    let folder = folder.replace(stored.value.map(bytes_of), next)?;
    if effects.put(name, &folder.encode()) { Ok(()) } else { Err(code::NO_ROOM) }
}

impl Plan for Quota {
    fn plan<'a>(proposal: &'a [u8], keys: &mut Keys<'a>) {
        if let Some(write) = Write::only(proposal) {
            keys.push(folder_of(write.key).unwrap_or(write.key));
            keys.push(write.key);
        }
    }
}
