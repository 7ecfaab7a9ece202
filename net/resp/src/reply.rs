//! Replies, as the two versions of the protocol spell them.
//!
//! Invariant: a reply longer than its bound is not written to its end, and says so; whoever sends it closes the connection
//! instead.

/// Which version of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// As `HELLO` counts.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// Writes replies behind what stands in a buffer.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    out_bytes_max: usize,
    is_cut: bool,
}

impl<'a> Reply<'a> {
    /// The buffer never grows beyond `out_bytes_max` by this reply.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol, out_bytes_max: usize) -> Self {
        Self { out, protocol, out_bytes_max, is_cut: false }
    }

    /// The version spoken.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// From the next reply on, another version.
    pub fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Whether something found no room: the connection must be closed.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// `+OK`
    pub fn ok(&mut self) {
        self.simple("OK");
    }

    /// A short text without line ends.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: its code in capitals, a space, its text. A line end inside becomes a space.
    pub fn error(&mut self, text: &str) {
        if text.contains(['\r', '\n']) {
            self.line(b'-', text.replace(['\r', '\n'], " ").as_bytes());
        } else {
            self.line(b'-', text.as_bytes());
        }
    }

    /// A number.
    pub fn integer(&mut self, number: i64) {
        self.number_line(b':', number);
    }

    /// Bytes of any kind.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let mut length = [0; NUMBER_BYTES_MAX];
        let length = decimal(bytes.len() as i64, &mut length);
        if self.has_room(length.len() + bytes.len() + 5) {
            self.out.push(b'$');
            self.out.extend_from_slice(length);
            self.out.extend_from_slice(LINE_END);
            self.out.extend_from_slice(bytes);
            self.out.extend_from_slice(LINE_END);
        }
    }

    /// As `bulk`.
    pub fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// Nothing is there.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No list is there.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// So many replies follow as one list.
    pub fn array(&mut self, length: usize) {
        self.number_line(b'*', length as i64);
    }

    /// So many pairs of replies follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(2 * pairs),
            Protocol::Resp3 => self.number_line(b'%', pairs as i64),
        }
    }

    /// So many replies follow, each but once, in no order.
    pub fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(length),
            Protocol::Resp3 => self.number_line(b'~', length as i64),
        }
    }

    /// Text for people.
    pub fn verbatim(&mut self, text: &str) {
        if self.protocol == Protocol::Resp2 {
            return self.text(text);
        }
        let mut length = [0; NUMBER_BYTES_MAX];
        let length = decimal(text.len() as i64 + 4, &mut length);
        if self.has_room(length.len() + text.len() + 9) {
            self.out.push(b'=');
            self.out.extend_from_slice(length);
            self.out.extend_from_slice(b"\r\ntxt:");
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(LINE_END);
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        debug_assert!(!text.contains(&b'\n'), "a line has one end");
        if self.has_room(text.len() + 3) {
            self.out.push(kind);
            self.out.extend_from_slice(text);
            self.out.extend_from_slice(LINE_END);
        }
    }

    fn number_line(&mut self, kind: u8, number: i64) {
        let mut digits = [0; NUMBER_BYTES_MAX];
        self.line(kind, decimal(number, &mut digits));
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.is_cut |= self.out.len() + bytes > self.out_bytes_max;
        !self.is_cut
    }
}

/// The spelling of a number, in a buffer of the caller's.
pub(crate) fn decimal(number: i64, buffer: &mut [u8; NUMBER_BYTES_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// The longest: `-9223372036854775808`.
pub(crate) const NUMBER_BYTES_MAX: usize = 20;
const LINE_END: &[u8] = b"\r\n";
