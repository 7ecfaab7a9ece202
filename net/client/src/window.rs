//! The window: every proposal of one shard that has no receipt yet, with its bytes.
//!
//! Invariants:
//! - a proposal leaves the window only by its receipt, so a node that restarts gets every unanswered
//!   proposal again, under the same session sequence and in the same order;
//! - never more than `SESSION_WINDOW` session sequences are open at once, which is what the node's session
//!   table remembers: a resubmitted proposal always finds its first answer;
//! - an answer keeps its place until it is taken: no receipt is ever dropped for a newer proposal;
//! - nothing is allocated after `new`: a full window is an answer.

use io_oi_record::limits::SESSION_WINDOW;

/// Session sequences that may be open at once; a slot is found by the remainder.
const SLOTS: usize = SESSION_WINDOW;
const _: () = assert!(SLOTS.is_power_of_two(), "a slot is found by masking the session sequence");

/// "No slot" in the chain of unclaimed answers.
const NONE: u32 = u32::MAX;
const _: () = assert!(SLOTS < NONE as usize);

/// The window cannot take this proposal now; it can once receipts have come in and were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowFull;

/// What the window knows of one session sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Submitted, not answered yet.
    Open,
    /// Answered; the answer waits to be taken.
    Answered,
    /// Never submitted, or already taken.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Open,
    Answered,
}

#[derive(Clone, Copy)]
struct Slot {
    session_sequence: u64,
    offset: u32,
    bytes: u32,
    /// Neighbours in the chain of answered, unclaimed slots.
    earlier: u32,
    later: u32,
    state: State,
}

/// See the head of the file. `A` is the answer kept per proposal (a receipt).
pub(crate) struct Window<A> {
    slots: Box<[Slot]>,
    answers: Box<[Option<A>]>,
    copies: Box<[u8]>,
    /// The oldest open session sequence; equal to `next` when nothing is open.
    oldest: u64,
    /// The session sequence the next proposal gets.
    next: u64,
    /// The next session sequence that has to go into the present ring; equal to `next` outside resubmission.
    unsent: u64,
    /// Where the next copy starts.
    write: usize,
    open_count: usize,
    first_answered: u32,
    last_answered: u32,
}

impl<A> Window<A> {
    /// A window whose copies take `copy_bytes` in all. The first session sequence is 1.
    pub(crate) fn new(copy_bytes: usize) -> Self {
        let free =
            Slot { session_sequence: 0, offset: 0, bytes: 0, earlier: NONE, later: NONE, state: State::Free };
        Self {
            slots: vec![free; SLOTS].into_boxed_slice(),
            answers: (0..SLOTS).map(|_| None).collect(),
            copies: vec![0; copy_bytes].into_boxed_slice(),
            oldest: 1,
            next: 1,
            unsent: 1,
            write: 0,
            open_count: 0,
            first_answered: NONE,
            last_answered: NONE,
        }
    }

    /// The session sequence that `reserve` will give out next.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Room for a proposal of `bytes`, to be encoded in place. Nothing has happened until `commit`.
    #[inline]
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<&mut [u8], WindowFull> {
        // The proposal before it in this slot is unanswered, or its answer was not taken yet.
        if self.slots[index_of(self.next)].state != State::Free {
            return Err(WindowFull);
        }
        let offset = self.offset_for(bytes).ok_or(WindowFull)?;
        Ok(&mut self.copies[offset..offset + bytes])
    }

    /// The bytes written by the caller into what `reserve(bytes)` gave.
    #[inline]
    pub(crate) fn reserved(&self, bytes: usize) -> &[u8] {
        let offset = self.offset_for(bytes).expect("reserve succeeded for the same size just before");
        &self.copies[offset..offset + bytes]
    }

    /// The reserved proposal is in the ring: from now on it is open. Gives its session sequence.
    #[inline]
    pub(crate) fn commit(&mut self, bytes: usize) -> u64 {
        assert!(bytes > 0, "an encoded proposal is never empty");
        let offset = self.offset_for(bytes).expect("reserve succeeded for the same size just before");
        let session_sequence = self.next;
        let index = index_of(session_sequence);
        assert!(self.slots[index].state == State::Free, "a proposal never takes the place of an answer");
        self.slots[index] = Slot {
            session_sequence,
            offset: offset as u32,
            bytes: bytes as u32,
            earlier: NONE,
            later: NONE,
            state: State::Open,
        };
        self.write = offset + bytes;
        self.next += 1;
        self.unsent = self.next;
        self.open_count += 1;
        session_sequence
    }

    /// Notes the answer of an open proposal. False when it was not open (an answer given twice).
    pub(crate) fn answer(&mut self, session_sequence: u64, answer: A) -> bool {
        let index = index_of(session_sequence);
        let slot = &mut self.slots[index];
        if slot.session_sequence != session_sequence || slot.state != State::Open {
            return false;
        }
        slot.state = State::Answered;
        self.answers[index] = Some(answer);
        self.open_count -= 1;
        self.chain(index);
        self.advance_oldest();
        true
    }

    /// Takes the answer of one proposal, once.
    pub(crate) fn take(&mut self, session_sequence: u64) -> Option<A> {
        if self.standing(session_sequence) != Standing::Answered {
            return None;
        }
        self.take_slot(index_of(session_sequence))
    }

    /// Takes the answer that came first among those nobody took yet.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<(u64, A)> {
        if self.first_answered == NONE {
            return None;
        }
        let index = self.first_answered as usize;
        let session_sequence = self.slots[index].session_sequence;
        self.take_slot(index).map(|answer| (session_sequence, answer))
    }

    pub(crate) fn standing(&self, session_sequence: u64) -> Standing {
        let slot = &self.slots[index_of(session_sequence)];
        match slot.state {
            State::Open if slot.session_sequence == session_sequence => Standing::Open,
            State::Answered if slot.session_sequence == session_sequence => Standing::Answered,
            _ => Standing::Unknown,
        }
    }

    /// Proposals without an answer.
    #[inline]
    pub(crate) fn open_count(&self) -> usize {
        self.open_count
    }

    /// A new ring knows nothing: every open proposal has to be sent again, oldest first.
    pub(crate) fn rewind(&mut self) {
        self.unsent = self.oldest;
    }

    /// Whether everything open is in the present ring.
    #[inline]
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent == self.next
    }

    /// The next open proposal that the present ring has not had yet.
    pub(crate) fn next_unsent(&mut self) -> Option<&[u8]> {
        while self.unsent < self.next {
            let slot = self.slots[index_of(self.unsent)];
            if slot.state == State::Open && slot.session_sequence == self.unsent {
                let start = slot.offset as usize;
                return Some(&self.copies[start..start + slot.bytes as usize]);
            }
            self.unsent += 1; // Answered meanwhile: it needs no second submission.
        }
        None
    }

    /// The proposal of `next_unsent` went into the ring.
    pub(crate) fn note_sent(&mut self) {
        assert!(self.unsent < self.next, "only an unsent proposal can be noted as sent");
        self.unsent += 1;
    }

    /// Where a copy of `bytes` fits, in one piece, behind the newest copy. Copies are freed oldest first.
    #[inline]
    fn offset_for(&self, bytes: usize) -> Option<usize> {
        if self.oldest == self.next {
            return (bytes <= self.copies.len()).then_some(0);
        }
        let read = self.slots[index_of(self.oldest)].offset as usize;
        if self.write > read {
            if self.copies.len() - self.write >= bytes {
                return Some(self.write);
            }
            return (bytes <= read).then_some(0);
        }
        (bytes <= read - self.write).then_some(self.write)
    }

    fn advance_oldest(&mut self) {
        while self.oldest < self.next {
            let slot = &self.slots[index_of(self.oldest)];
            if slot.state == State::Open && slot.session_sequence == self.oldest {
                break;
            }
            self.oldest += 1;
        }
        self.unsent = self.unsent.max(self.oldest);
    }

    fn take_slot(&mut self, index: usize) -> Option<A> {
        self.unchain(index);
        self.slots[index].state = State::Free;
        self.answers[index].take()
    }

    fn chain(&mut self, index: usize) {
        self.slots[index].earlier = self.last_answered;
        self.slots[index].later = NONE;
        match self.last_answered {
            NONE => self.first_answered = index as u32,
            last => self.slots[last as usize].later = index as u32,
        }
        self.last_answered = index as u32;
    }

    fn unchain(&mut self, index: usize) {
        let Slot { earlier, later, .. } = self.slots[index];
        match earlier {
            NONE => self.first_answered = later,
            slot => self.slots[slot as usize].later = later,
        }
        match later {
            NONE => self.last_answered = earlier,
            slot => self.slots[slot as usize].earlier = earlier,
        }
    }
}

#[inline]
fn index_of(session_sequence: u64) -> usize {
    session_sequence as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submit(window: &mut Window<u32>, bytes: &[u8]) -> Result<u64, WindowFull> {
        window.reserve(bytes.len())?.copy_from_slice(bytes);
        assert_eq!(window.reserved(bytes.len()), bytes);
        Ok(window.commit(bytes.len()))
    }

    fn unsent(window: &mut Window<u32>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = window.next_unsent() {
            all.push(bytes.to_vec());
            window.note_sent();
        }
        all
    }

    #[test]
    fn session_sequences_are_dense_and_start_at_one() {
        let mut window = Window::new(64);
        assert_eq!(submit(&mut window, b"a"), Ok(1));
        assert_eq!(submit(&mut window, b"b"), Ok(2));
        assert_eq!(window.next(), 3);
        assert_eq!(window.open_count(), 2);
    }

    #[test]
    fn an_answer_is_taken_once_and_a_second_answer_is_not_believed() {
        let mut window = Window::new(64);
        let ticket = submit(&mut window, b"a").unwrap();
        assert_eq!(window.standing(ticket), Standing::Open);
        assert!(window.answer(ticket, 7));
        assert!(!window.answer(ticket, 8));
        assert_eq!(window.standing(ticket), Standing::Answered);
        assert_eq!(window.take(ticket), Some(7));
        assert_eq!(window.take(ticket), None);
        assert_eq!(window.standing(ticket), Standing::Unknown);
        assert!(!window.answer(99, 1), "an answer to nothing that was asked");
    }

    #[test]
    fn answers_are_handed_out_in_the_order_they_came() {
        let mut window = Window::new(64);
        for byte in 0..4u8 {
            submit(&mut window, &[byte]).unwrap();
        }
        for session_sequence in [3, 1, 4, 2] {
            assert!(window.answer(session_sequence, session_sequence as u32));
        }
        assert_eq!(window.take(4), Some(4));
        let order: Vec<u64> = std::iter::from_fn(|| window.take_first()).map(|(s, _)| s).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn a_full_window_takes_more_once_the_oldest_answer_is_taken_and_drops_none() {
        let mut window = Window::new(SLOTS * 2);
        for _ in 0..SLOTS {
            submit(&mut window, b"x").unwrap();
        }
        assert_eq!(submit(&mut window, b"x"), Err(WindowFull));
        assert!(window.answer(2, 0));
        assert_eq!(submit(&mut window, b"x"), Err(WindowFull), "session sequence 1 is still open");
        assert!(window.answer(1, 0));
        assert_eq!(submit(&mut window, b"x"), Err(WindowFull), "the answer of 1 was not taken yet");
        assert_eq!(window.take(1), Some(0));
        assert_eq!(submit(&mut window, b"x"), Ok(SLOTS as u64 + 1));
        assert_eq!(window.take_first(), Some((2, 0)));
        assert_eq!(window.take_first(), None);
    }

    #[test]
    fn copies_wrap_without_touching_open_ones() {
        let mut window = Window::new(100);
        let mut expected: std::collections::VecDeque<(u64, Vec<u8>)> = Default::default();
        let mut random = 12345u64;
        for round in 0..20_000u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let bytes = vec![round as u8; 1 + (random >> 33) as usize % 40];
            match submit(&mut window, &bytes) {
                Ok(session_sequence) => expected.push_back((session_sequence, bytes)),
                Err(WindowFull) => {
                    let (session_sequence, _) = expected.pop_front().expect("an empty window takes 40 bytes");
                    assert!(window.answer(session_sequence, 0));
                    assert!(window.take(session_sequence).is_some());
                }
            }
            window.rewind();
            let open: Vec<Vec<u8>> = expected.iter().map(|(_, bytes)| bytes.clone()).collect();
            assert_eq!(unsent(&mut window), open);
        }
    }

    #[test]
    fn after_a_rewind_exactly_the_unanswered_are_sent_again_in_order() {
        let mut window = Window::new(64);
        for byte in 1..=6u8 {
            submit(&mut window, &[byte]).unwrap();
        }
        assert!(window.is_sent());
        for session_sequence in [1, 3, 4] {
            window.answer(session_sequence, 0);
        }
        window.rewind();
        assert!(!window.is_sent());
        assert_eq!(window.next_unsent(), Some(&[2u8][..]));
        window.note_sent();
        window.answer(5, 0); // Its answer came while the others were being sent.
        assert_eq!(unsent(&mut window), [[6u8]]);
        assert!(window.is_sent());
    }

    #[test]
    fn a_proposal_larger_than_all_copies_is_refused_not_truncated() {
        let mut window: Window<u32> = Window::new(8);
        assert!(window.reserve(9).is_err());
        assert!(window.reserve(8).is_ok());
    }
}
