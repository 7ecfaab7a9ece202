//! Opening damaged logs on the simulated disk.

use io_oi_wal::sim_disk::{Image, Options, SimDisk};
use io_oi_wal::{Config, Damage, OpenError, Recovered, Wal};

use super::sim::frame;

/// A log that was opened by repairing it.
pub struct Repaired {
    pub disk: SimDisk,
    pub wal: Wal<SimDisk>,
    pub frames: Vec<Vec<u8>>,
    pub recovered: Recovered,
}

impl Repaired {
    pub fn open(image: Image, config: &Config) -> Result<Self, OpenError> {
        Self::open_on(SimDisk::from_image(image, Options::new(7, config.buffer_bytes)), config)
    }

    pub fn open_on(disk: SimDisk, config: &Config) -> Result<Self, OpenError> {
        let mut frames = Vec::new();
        let (wal, recovered) = Wal::open_repairing_on(disk.clone(), config.clone(), |_, frame| {
            assert_eq!(frame.sequence, frames.len() as u64, "frames come in order, none twice");
            frames.push(frame.bytes.to_vec());
            Ok(())
        })?;
        Ok(Self { disk, wal, frames, recovered })
    }

    pub fn damage(&self) -> Damage {
        self.recovered.damage.expect("the log was damaged")
    }

    /// The log goes on, loses power, and is as sound as any.
    pub fn go_on(mut self, config: &Config, what: &str) {
        for _ in 0..3 {
            let bytes = vec![0xAB; 700];
            // The next segment may still be under way.
            while self.wal.append(frame(self.frames.len() as u64, &bytes)).is_err() {
                assert_eq!(self.wal.poll().unwrap(), None, "{what}");
            }
            self.frames.push(bytes);
            self.wal.flush_blocking().unwrap();
        }
        let left = Image::after_power_cut(&self.disk.start(), &self.disk.history(), |_| false);
        let aside = self.disk.image().aside;
        let disk = SimDisk::from_image(left, Options::new(8, config.buffer_bytes));
        let again =
            super::sim::Life::open(disk.clone(), config).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(again.appended, self.frames, "{what}");
        assert_eq!(
            again.recovered.damage, self.recovered.damage,
            "{what}: the log tells its damage for ever"
        );
        assert_eq!(disk.image().aside, aside, "{what}: what was set aside stays");
    }
}
