//! A gRPC client for unary calls over one plain HTTP/2 connection (RFC 9113), many in flight, on the caller's thread.
//!
//! Just enough of both to put load on a rival without a runtime beside it: request headers are literals, the peer is
//! told to keep no header table, so that its headers need not be decoded to be skipped; an answer without a message is
//! a refusal. What the client itself costs is measured by calls that the rival answers from memory.
//!
//! Invariant: an answer is handed out only when it came whole, under the stream that asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to one server.
pub(crate) struct Channel {
    socket: TcpStream,
    authority: String,
    next_stream: u32,
    /// What the server still takes on the whole connection; calls here are far below a stream's own window.
    send_window: i64,
    consumed: u32,
    out: Vec<u8>,
    input: Vec<u8>,
    answers: HashMap<u32, Vec<u8>>,
    /// Whole answers that came while a call waited for the server's window.
    early: Vec<(Call, Option<Vec<u8>>)>,
}

/// A call without its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call(u32);

impl Channel {
    /// Connects and says how this side wants to be spoken to.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut channel = Self {
            socket,
            authority: address.to_string(),
            next_stream: 1,
            send_window: 65_535,
            consumed: 0,
            out: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            input: Vec::new(),
            answers: HashMap::new(),
            early: Vec::new(),
        };
        let mut settings = Vec::new();
        for (setting, value) in
            [(HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, WINDOW_BYTES)]
        {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        channel.frame(SETTINGS, 0, 0, &settings);
        channel.frame(WINDOW_UPDATE, 0, 0, &(WINDOW_BYTES - 65_535).to_be_bytes());
        channel.flush()?;
        Ok(channel)
    }

    /// Begins a call; `flush` sends it.
    pub(crate) fn call(&mut self, path: &str, message: &[u8]) -> io::Result<Call> {
        while self.send_window < message.len() as i64 + PREFIX_BYTES as i64 {
            self.flush()?;
            let mut early = std::mem::take(&mut self.early);
            let read = self.read(&mut |call, answer| early.push((call, answer.map(<[u8]>::to_vec))));
            self.early = early;
            read?;
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        let headers = headers_of(path, &self.authority);
        self.frame(HEADERS, END_HEADERS, stream, &headers);
        let mut data = vec![0];
        data.extend_from_slice(&(message.len() as u32).to_be_bytes());
        data.extend_from_slice(message);
        self.send_window -= data.len() as i64;
        self.frame(DATA, END_STREAM, stream, &data);
        self.answers.insert(stream, Vec::new());
        Ok(Call(stream))
    }

    /// Sends what was begun.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for something to come and hands out every answer in it; `None` is a refusal.
    pub(crate) fn receive(&mut self, answered: &mut dyn FnMut(Call, Option<&[u8]>)) -> io::Result<()> {
        if self.early.is_empty() {
            return self.read(answered);
        }
        for (call, answer) in self.early.drain(..) {
            answered(call, answer.as_deref());
        }
        Ok(())
    }

    fn read(&mut self, answered: &mut dyn FnMut(Call, Option<&[u8]>)) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        let bytes = self.socket.read(&mut buffer)?;
        if bytes == 0 {
            return Err(broken("the server closed the connection"));
        }
        self.input.extend_from_slice(&buffer[..bytes]);
        let mut at = 0;
        while let Some((head, payload)) = next_frame(&self.input[at..]) {
            let payload = payload.to_vec();
            at += HEAD_BYTES + payload.len();
            self.take(head, &payload, answered)?;
        }
        self.input.drain(..at);
        self.flush()
    }

    /// One call, waited for.
    pub(crate) fn ask(&mut self, path: &str, message: &[u8]) -> io::Result<Vec<u8>> {
        let asked = self.call(path, message)?;
        self.flush()?;
        let mut found = None;
        while found.is_none() {
            self.receive(&mut |call, answer| {
                if call == asked {
                    found = Some(answer.map(<[u8]>::to_vec));
                }
            })?;
        }
        found.flatten().ok_or_else(|| broken("the server refused the call"))
    }

    fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        answered: &mut dyn FnMut(Call, Option<&[u8]>),
    ) -> io::Result<()> {
        match head.kind {
            DATA => {
                self.give_back(payload.len() as u32);
                if let Some(answer) = self.answers.get_mut(&head.stream) {
                    answer.extend_from_slice(payload);
                }
            }
            SETTINGS if head.flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if head.flags & ACK == 0 => self.frame(PING, ACK, 0, payload),
            WINDOW_UPDATE if head.stream == 0 => self.send_window += i64::from(number(payload)?),
            GO_AWAY => return Err(broken("the server is going away")),
            _ => {}
        }
        let is_over =
            matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0 || head.kind == RST_STREAM;
        if is_over && let Some(answer) = self.answers.remove(&head.stream) {
            answered(Call(head.stream), message_of(&answer));
        }
        Ok(())
    }

    /// What was read may be sent anew.
    fn give_back(&mut self, bytes: u32) {
        self.consumed += bytes;
        if self.consumed > WINDOW_BYTES / 2 {
            let consumed = std::mem::take(&mut self.consumed);
            self.frame(WINDOW_UPDATE, 0, 0, &consumed.to_be_bytes());
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        self.out.extend_from_slice(&[kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
        self.out.extend_from_slice(payload);
    }
}

#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

fn next_frame(input: &[u8]) -> Option<(Head, &[u8])> {
    let head = input.get(..HEAD_BYTES)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let payload = input.get(HEAD_BYTES..HEAD_BYTES + length)?;
    Some((Head { kind: head[3], flags: head[4], stream }, payload))
}

/// The message of a unary answer; a refusal has none.
fn message_of(answer: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(answer.get(1..PREFIX_BYTES)?.try_into().ok()?) as usize;
    answer.get(PREFIX_BYTES..PREFIX_BYTES + length)
}

/// Header fields as literals that enter no table (RFC 7541, 6.2.2).
fn headers_of(path: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // ":method: POST", ":scheme: http" of the static table.
    for (name, value) in [(0x04, path), (0x01, authority)] {
        block.push(name);
        text(&mut block, value);
    }
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "longer texts need a longer length");
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}

fn number(payload: &[u8]) -> io::Result<u32> {
    let bytes = payload.try_into().map_err(|_| broken("a window update of another length"))?;
    Ok(u32::from_be_bytes(bytes))
}

fn broken(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

const PATIENCE: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 9;
/// In front of every gRPC message: compressed or not, and its length.
const PREFIX_BYTES: usize = 5;
const WINDOW_BYTES: u32 = 16 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut bytes = vec![0, 0, 3, DATA, END_STREAM, 0, 0, 0, 5, 7, 8];
        assert!(next_frame(&bytes).is_none());
        bytes.push(9);
        let (head, payload) = next_frame(&bytes).unwrap();
        assert_eq!((head.kind, head.flags, head.stream, payload), (DATA, END_STREAM, 5, &[7, 8, 9][..]));
    }

    #[test]
    fn a_message_stands_behind_its_length_and_a_refusal_has_none() {
        assert_eq!(message_of(&[0, 0, 0, 0, 2, 8, 1]), Some(&[8, 1][..]));
        assert_eq!(message_of(&[0, 0, 0, 0, 0]), Some(&[][..]));
        assert_eq!(message_of(&[]), None);
        assert_eq!(message_of(&[0, 0, 0, 0, 2, 8]), None);
    }
}
