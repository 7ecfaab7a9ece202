//! Segments opened for reading only, beside whoever writes them.
//!
//! Invariant: nothing is written, locked or removed; a descriptor stays open only while its segment is the one being read.

use std::fs::File;
use std::io;
use std::path::Path;

use super::directory::Directory;
use super::read_all;
use crate::disk::{DiskError, Operation};
use crate::format::SegmentNumber;

/// The segments of one directory.
pub(crate) struct SegmentFiles {
    directory: Directory,
    open: Option<(SegmentNumber, File)>,
}

impl SegmentFiles {
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let directory = Directory::open_unlocked(path);
        let directory = directory.map_err(|error| DiskError::new(Operation::Open, None, error))?;
        Ok(Self { directory, open: None })
    }

    pub(crate) fn read(
        &mut self,
        segment: SegmentNumber,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), DiskError> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != segment) {
            let file = self.open_file(segment);
            let file = file.map_err(|error| DiskError::new(Operation::Open, segment, error))?;
            self.open = Some((segment, file));
        }
        let (_, file) = self.open.as_ref().expect("opened above");
        read_all(file, into, offset).map_err(|error| DiskError::new(Operation::Read, segment, error))
    }

    fn open_file(&mut self, segment: SegmentNumber) -> io::Result<File> {
        match self.directory.open_to_read(segment) {
            // This file system has no O_DIRECT.
            Err(error) if self.directory.is_direct() && error.kind() == io::ErrorKind::InvalidInput => {
                self.directory.give_up_direct();
                self.directory.open_to_read(segment)
            }
            opened => opened,
        }
    }
}
