//! The real device, in a temporary directory, with every strategy.

mod support;

use io_oi_wal::{AppendError, FRAME_BYTES_MAX, Frame, FrameKind, LogIndex, OpenError, StrategyWish, Wal};
use support::{frame_of, real_config, recover_all, skip_without_device};

const STRATEGIES: [StrategyWish; 4] =
    [StrategyWish::Auto, StrategyWish::Linked, StrategyWish::Fua, StrategyWish::Thread];

#[test]
fn every_strategy_hands_out_again_what_it_made_durable() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    for strategy in STRATEGIES {
        let directory = directory.path().join(strategy.to_string());
        let config = real_config(strategy);
        let (mut wal, recovered) = Wal::open(&directory, config.clone(), |_, _| Ok(())).unwrap();
        assert!(recovered.created && recovered.frames == 0);
        let mut durable = LogIndex(0);
        for number in 0..300 {
            let bytes = frame_of(number);
            let frame = Frame { kind: FrameKind(1), epoch: 7, sequence: number, bytes: &bytes };
            while wal.append(frame).is_err() {
                wal.poll().unwrap();
            }
            wal.submit();
            if let Some(through) = wal.poll().unwrap() {
                assert!(through > durable);
                durable = through;
            }
        }
        assert_eq!(wal.flush_blocking().unwrap(), wal.appended());
        assert!(wal.stats().batches > 1 && wal.stats().flush_ns.count() == wal.stats().batches);
        println!("{strategy}: {}", wal.stats().strategy_reason);
        drop(wal);

        let (frames, recovered) = recover_all(&directory, &config);
        assert_eq!(frames.len(), 300);
        for (number, (sequence, bytes)) in frames.iter().enumerate() {
            assert_eq!((*sequence, bytes), (number as u64, &frame_of(number as u64)));
        }
        assert!(!recovered.closed_cleanly && recovered.torn_tail.is_none());
    }
}

#[test]
fn frames_of_the_largest_size_cross_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let config = real_config(StrategyWish::Linked);
    let (mut wal, _) = Wal::open(directory.path(), config.clone(), |_, _| Ok(())).unwrap();
    let mut bytes = vec![0u8; FRAME_BYTES_MAX];
    for number in 0..40u64 {
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[FRAME_BYTES_MAX - 8..].copy_from_slice(&number.to_le_bytes());
        let frame = Frame { kind: FrameKind(1), epoch: 1, sequence: number, bytes: &bytes };
        loop {
            match wal.append(frame) {
                Ok(_) => break,
                Err(AppendError::BatchFull | AppendError::LogFull) => {
                    wal.submit();
                    wal.poll().unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    wal.flush_blocking().unwrap();
    assert!(wal.stats().segments_filled >= 4);
    wal.close().unwrap();
    let (frames, recovered) = recover_all(directory.path(), &config);
    assert_eq!(frames.len(), 40);
    for (number, (sequence, bytes)) in frames.iter().enumerate() {
        let number = number as u64;
        assert_eq!(*sequence, number);
        assert_eq!(bytes[FRAME_BYTES_MAX - 8..], number.to_le_bytes());
    }
    assert!(recovered.closed_cleanly);
}

#[test]
fn a_log_that_is_open_elsewhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let config = real_config(StrategyWish::Thread);
    let (_wal, _) = Wal::open(directory.path(), config.clone(), |_, _| Ok(())).unwrap();
    let refused = Wal::open(directory.path(), config, |_, _| Ok(())).err().expect("one log, one owner");
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
}

#[test]
fn what_may_not_be_appended_leaves_the_log_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    if skip_without_device(directory.path()) {
        return;
    }
    let (mut wal, _) = Wal::open(directory.path(), real_config(StrategyWish::Linked), |_, _| Ok(())).unwrap();
    let before = wal.appended();
    let long = vec![0; FRAME_BYTES_MAX + 1];
    let refused = wal.append(Frame { kind: FrameKind(1), epoch: 0, sequence: 0, bytes: &long }).unwrap_err();
    assert!(matches!(refused, AppendError::TooLong { bytes, .. } if bytes == FRAME_BYTES_MAX + 1));
    let refused = wal.append(Frame { kind: FrameKind(240), epoch: 0, sequence: 0, bytes: &[] }).unwrap_err();
    assert!(matches!(refused, AppendError::ReservedKind { .. }));
    assert_eq!(wal.appended(), before);
    assert!(wal.is_idle());
}
