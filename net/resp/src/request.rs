//! Requests as they come from a socket: arrays of bulk strings, or inline lines.
//!
//! Invariants:
//! - no byte is looked at twice, however the stream is cut: what was found stays found;
//! - arguments are places in the caller's buffer; only an inline line with quotes is copied, to be unescaped;
//! - nothing is reserved on the word of a length: memory follows bytes that have come.

use crate::inline;
use crate::number::integer;

/// Hard bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument, in bytes (Redis: `proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Longest request, in bytes (Redis: `client-query-buffer-limit`).
    pub request_bytes_max: usize,
    /// Most arguments.
    pub arguments_max: usize,
}

impl Limits {
    /// For those who have not said who they are, as Redis bounds them.
    #[must_use]
    pub fn of_strangers(self) -> Self {
        Self {
            bulk_bytes_max: self.bulk_bytes_max.min(16 * 1024),
            request_bytes_max: self.request_bytes_max,
            arguments_max: self.arguments_max.min(10),
        }
    }
}

/// Why a stream cannot be understood any further. The texts are Redis's own; the connection ends after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    CountLine,
    /// The number of arguments is none, or too large.
    #[error("Protocol error: invalid multibulk length")]
    Count,
    /// The line with the length of an argument does not end.
    #[error("Protocol error: too big bulk count string")]
    LengthLine,
    /// Something else than an argument stands where one must.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0).escape_default())]
    NotBulk(u8),
    /// The length of an argument is none, negative, or too large.
    #[error("Protocol error: invalid bulk length")]
    Length,
    /// All arguments together are too long.
    #[error("Protocol error: too big request")]
    Request,
    /// An inline line does not end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// An inline line opens a quote that it does not close.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
}

/// How far the bytes at hand go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The request goes on behind them.
    Partial,
    /// One whole request of so many bytes; it may have no argument at all, and then it is to be passed over.
    Whole {
        /// Bytes to consume before the next call.
        bytes: usize,
    },
}

/// Reads requests one after another.
#[derive(Debug, Default)]
pub struct Parser {
    /// Everything before this place is understood.
    at: usize,
    /// No line ends between `at` and here.
    searched: usize,
    stage: Stage,
    spans: Vec<Span>,
    /// Arguments of an inline line, unescaped.
    unescaped: Vec<u8>,
    is_inline: bool,
    /// What is wrong stays wrong.
    error: Option<ProtocolError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Begin,
    Inline,
    /// So many arguments are still to come; their lengths stand before them.
    Length {
        arguments_left: usize,
    },
    /// The bytes of one argument.
    Bulk {
        arguments_left: usize,
        bytes: usize,
    },
    /// The next call begins anew.
    Over,
}

/// Where an argument stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: u32,
    pub(crate) end: u32,
}

/// The arguments of one whole request, the command's name first.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl Parser {
    /// Goes on reading. `input` begins where the request begins: what an earlier call was given, and more behind it.
    ///
    /// # Errors
    /// The stream cannot be understood, now or ever: answer the text and close.
    pub fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.go_on(input, limits).inspect_err(|error| self.error = Some(*error))
    }

    fn go_on(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, ProtocolError> {
        if self.stage == Stage::Over {
            self.begin();
        }
        loop {
            match self.stage {
                Stage::Begin => match input.first() {
                    None => return Ok(Progress::Partial),
                    Some(b'*') => match self.count(input, limits)? {
                        None => return Ok(Progress::Partial),
                        Some(0) => return Ok(self.whole()),
                        Some(arguments_left) => self.stage = Stage::Length { arguments_left },
                    },
                    Some(_) => self.stage = Stage::Inline,
                },
                Stage::Inline => return self.line(input),
                Stage::Length { arguments_left } => match self.length(input, limits)? {
                    None => return Ok(Progress::Partial),
                    Some(bytes) => self.stage = Stage::Bulk { arguments_left, bytes },
                },
                Stage::Bulk { arguments_left, bytes } => {
                    if input.len() < self.at + bytes + LINE_END_BYTES {
                        return Ok(Progress::Partial);
                    }
                    self.spans.push(Span { begin: self.at as u32, end: (self.at + bytes) as u32 });
                    self.at += bytes + LINE_END_BYTES;
                    self.searched = self.at;
                    if arguments_left == 1 {
                        return Ok(self.whole());
                    }
                    self.stage = Stage::Length { arguments_left: arguments_left - 1 };
                }
                Stage::Over => unreachable!("begun anew above"),
            }
        }
    }

    /// The arguments of the request that `advance` called whole, given the same bytes.
    #[must_use]
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> Arguments<'a> {
        Arguments { bytes: if self.is_inline { &self.unescaped } else { input }, spans: &self.spans }
    }

    /// How many bytes the request needs at least, as far as is known: what a buffer may grow to.
    #[must_use]
    pub fn bytes_needed(&self) -> usize {
        match self.stage {
            Stage::Bulk { bytes, .. } => self.at + bytes + LINE_END_BYTES,
            _ => self.at + 1,
        }
    }

    /// Bytes of memory that this parser holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.unescaped.capacity()
    }

    fn begin(&mut self) {
        (self.at, self.searched, self.stage, self.is_inline) = (0, 0, Stage::Begin, false);
        self.spans.clear();
        self.spans.shrink_to(SPANS_KEPT);
        self.unescaped = Vec::new();
    }

    fn whole(&mut self) -> Progress {
        self.stage = Stage::Over;
        Progress::Whole { bytes: self.at }
    }

    /// `*3\r\n`; a number below one is a request without arguments.
    fn count(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.number_line(input, ProtocolError::CountLine)? else { return Ok(None) };
        let count = integer(&line[1..]).ok_or(ProtocolError::Count)?;
        match usize::try_from(count) {
            Err(_) => Ok(Some(0)),
            Ok(count) if count > limits.arguments_max => Err(ProtocolError::Count),
            Ok(count) => Ok(Some(count)),
        }
    }

    /// `$5\r\n`
    fn length(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        // Said before the line is whole: what is wrong with its first byte stays wrong.
        match input.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::NotBulk(*other)),
        }
        let Some(line) = self.number_line(input, ProtocolError::LengthLine)? else { return Ok(None) };
        let bytes = integer(&line[1..]).and_then(|length| usize::try_from(length).ok());
        let bytes = bytes.filter(|bytes| *bytes <= limits.bulk_bytes_max).ok_or(ProtocolError::Length)?;
        if self.at + bytes + LINE_END_BYTES > limits.request_bytes_max {
            return Err(ProtocolError::Request);
        }
        Ok(Some(bytes))
    }

    /// The line at `at` without its end, which is consumed; `None` when its end has not come.
    fn number_line<'a>(
        &mut self,
        input: &'a [u8],
        endless: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let from = self.searched.max(self.at);
        let Some(length) = input[from..].iter().position(|byte| *byte == b'\r') else {
            self.searched = input.len();
            return if input.len() - self.at > LINE_BYTES_MAX { Err(endless) } else { Ok(None) };
        };
        let end = from + length;
        self.searched = end;
        if end - self.at > LINE_BYTES_MAX {
            return Err(endless);
        }
        if input.len() < end + LINE_END_BYTES {
            return Ok(None);
        }
        let line = &input[self.at..end];
        self.at = end + LINE_END_BYTES;
        self.searched = self.at;
        Ok(Some(line))
    }

    fn line(&mut self, input: &[u8]) -> Result<Progress, ProtocolError> {
        let Some(length) = input[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = input.len();
            return if input.len() > LINE_BYTES_MAX {
                Err(ProtocolError::InlineLine)
            } else {
                Ok(Progress::Partial)
            };
        };
        let end = self.searched + length;
        if end > LINE_BYTES_MAX {
            return Err(ProtocolError::InlineLine);
        }
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        self.is_inline = true;
        inline::split(line, &mut self.unescaped, &mut self.spans).ok_or(ProtocolError::Quotes)?;
        self.at = end + 1;
        Ok(self.whole())
    }
}

impl<'a> Arguments<'a> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// One of them, the name being 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| &self.bytes[span.begin as usize..span.end as usize])
    }

    /// One that the command's arity promises.
    ///
    /// # Panics
    /// There are not so many.
    #[must_use]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).expect("the arity was checked")
    }

    /// From one of them to the last.
    pub fn from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let spans = self.spans.get(index..).unwrap_or_default();
        spans.iter().map(move |span| &bytes[span.begin as usize..span.end as usize])
    }
}

const LINE_END_BYTES: usize = 2;
/// Redis's `PROTO_INLINE_MAX_SIZE`.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// A parser keeps room for so many arguments from one request to the next.
const SPANS_KEPT: usize = 64;
