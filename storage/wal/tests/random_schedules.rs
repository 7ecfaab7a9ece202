//! Appends, submits, polls, crashes and closes in any order, on disks of any speed: the log is a list that only grows.

mod support;

use io_oi_wal::AppendError;
use io_oi_wal::sim_disk::{Image, Options, Random, SimDisk};
use proptest::prelude::*;
use support::sim::{Life, numbered_frame, small_config};

#[derive(Clone, Debug)]
enum Act {
    Append { bytes: usize },
    Submit,
    Poll,
    FlushBlocking,
    PowerCut { chance: u64 },
    Kill,
    Close,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0usize..support::sim::FRAME_BYTES_MAX).prop_map(|bytes| Act::Append { bytes }),
        4 => Just(Act::Submit),
        6 => Just(Act::Poll),
        1 => Just(Act::FlushBlocking),
        1 => any::<u64>().prop_map(|chance| Act::PowerCut { chance }),
        1 => Just(Act::Kill),
        1 => Just(Act::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_only_grows(seed: u64, polls_max in 0u64..4, acts in proptest::collection::vec(any_act(), 1..120)) {
        let config = small_config();
        let options = Options { polls_max, ..Options::new(seed, config.buffer_bytes) };
        let mut life = Life::open(SimDisk::new(options.clone()), &config).unwrap();
        for act in acts {
            match act {
                Act::Append { bytes } => {
                    let mut frame = numbered_frame(life.appended.len() as u64, seed);
                    frame.resize(bytes, 7);
                    let before = life.wal.appended();
                    match life.append(frame) {
                        Ok(()) => prop_assert_eq!(life.wal.appended().0, before.0 + 1),
                        Err(AppendError::BatchFull | AppendError::LogFull) => prop_assert_eq!(life.wal.appended(), before),
                        Err(error) => return Err(TestCaseError::fail(error.to_string())),
                    }
                }
                Act::Submit => life.wal.submit(),
                Act::Poll => life.poll().unwrap(),
                Act::FlushBlocking => {
                    life.wal.flush_blocking().unwrap();
                    life.acknowledged.push((life.disk.events(), life.appended.len()));
                }
                Act::PowerCut { chance } => {
                    let mut random = Random(chance);
                    let keep = |_| random.next().is_multiple_of(2);
                    let image = Image::after_power_cut(&life.disk.start(), &life.disk.history(), keep);
                    life = reopen(life, image, &options);
                }
                Act::Kill => {
                    let image = life.disk.image();
                    life = reopen(life, image, &options);
                }
                Act::Close => {
                    let Life { disk, wal, appended, .. } = life;
                    wal.close().unwrap();
                    let image = Image::after_power_cut(&disk.start(), &disk.history(), |_| false);
                    life = Life::open(SimDisk::from_image(image, options.clone()), &config).unwrap();
                    prop_assert!(life.recovered.closed_cleanly);
                    prop_assert_eq!(&life.appended, &appended);
                }
            }
        }
    }
}

fn reopen(before: Life, image: Image, options: &Options) -> Life {
    let after = Life::open(SimDisk::from_image(image, options.clone()), &small_config()).unwrap();
    let count = after.appended.len();
    assert!(count >= before.acknowledged_now() && count <= before.appended.len());
    assert_eq!(after.appended[..], before.appended[..count]);
    after
}
