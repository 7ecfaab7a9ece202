//! The stream of requests: however it is cut it says the same, and whatever is wrong with it, it costs no more than its bytes.

use io_oi_resp::request::{LINE_BYTES_MAX, Limits, Parser, Progress, ProtocolError};
use proptest::prelude::*;

const LIMITS: Limits = Limits { bulk_bytes_max: 1 << 20, request_bytes_max: 4 << 20, arguments_max: 1 << 20 };

type Request = Vec<Vec<u8>>;

/// Everything a stream says: its requests, and how it ends. The pieces come one after another.
fn read(pieces: &[&[u8]], limits: &Limits) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.advance(&buffer, limits) {
                Ok(Progress::Partial) => break,
                Ok(Progress::Whole { bytes }) => {
                    let arguments = parser.arguments(&buffer[..bytes]);
                    if !arguments.is_empty() {
                        requests.push(arguments.from(0).map(<[u8]>::to_vec).collect());
                    }
                    buffer.drain(..bytes);
                }
                Err(error) => {
                    assert_eq!(parser.advance(&buffer, limits), Err(error), "what is wrong stays wrong");
                    return (requests, Some(error));
                }
            }
        }
    }
    (requests, None)
}

fn encode(request: &Request) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[track_caller]
fn fails(stream: &[u8], error: ProtocolError) {
    assert_eq!(
        read(&[stream], &LIMITS).1,
        Some(error),
        "{:?}",
        String::from_utf8_lossy(&stream[..stream.len().min(80)])
    );
}

#[test]
fn both_forms_of_a_request_are_read() {
    let stream =
        b"*2\r\n$3\r\nGET\r\n$5\r\nk\r\n\0e\r\nPING\r\n\r\nset k \"a b\"\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n";
    let (requests, error) = read(&[stream], &LIMITS);
    let words: Vec<Vec<&[u8]>> =
        requests.iter().map(|request| request.iter().map(Vec::as_slice).collect()).collect();
    let wanted: Vec<Vec<&[u8]>> =
        vec![vec![b"GET", b"k\r\n\0e"], vec![b"PING"], vec![b"set", b"k", b"a b"], vec![b"PING"]];
    assert_eq!((words, error), (wanted, None));
}

#[test]
fn what_is_wrong_is_named_as_redis_names_it() {
    fails(b"*abc\r\n", ProtocolError::Count);
    fails(b"*2147483648\r\n", ProtocolError::Count);
    fails(b"*99999999999999999999\r\n", ProtocolError::Count);
    fails(b"*1\r\n$-1\r\n", ProtocolError::Length);
    fails(b"*1\r\n$1048577\r\n", ProtocolError::Length);
    fails(b"*1\r\n$9223372036854775808\r\n", ProtocolError::Length);
    fails(b"*1\r\n$ 1\r\n", ProtocolError::Length);
    fails(b"*1\r\n:1\r\n", ProtocolError::NotBulk(b':'));
    fails(b"*1\r\n*1\r\n*1\r\n", ProtocolError::NotBulk(b'*'));
    fails(b"set k \"open\n", ProtocolError::Quotes);
    let endless = |begin: &[u8]| [begin, &vec![b'1'; LINE_BYTES_MAX + 2]].concat();
    fails(&endless(b"*"), ProtocolError::CountLine);
    fails(&endless(b"*1\r\n$"), ProtocolError::LengthLine);
    fails(&endless(b"get "), ProtocolError::InlineLine);
    assert_eq!(ProtocolError::NotBulk(b'*').to_string(), "Protocol error: expected '$', got '*'");
    assert_eq!(ProtocolError::Count.to_string(), "Protocol error: invalid multibulk length");
}

#[test]
fn a_request_is_bounded_as_a_whole() {
    let limits = Limits { request_bytes_max: 1000, ..LIMITS };
    let stream = encode(&vec![vec![0; 300]; 4]);
    assert_eq!(read(&[&stream], &limits).1, Some(ProtocolError::Request));
    let strangers = LIMITS.of_strangers();
    assert_eq!(read(&[b"*11\r\n"], &strangers).1, Some(ProtocolError::Count));
    assert_eq!(read(&[b"*1\r\n$16385\r\n"], &strangers).1, Some(ProtocolError::Length));
}

#[test]
fn the_word_of_a_length_reserves_nothing() {
    let mut parser = Parser::default();
    assert_eq!(parser.advance(b"*1048576\r\n$1048576\r\n", &LIMITS), Ok(Progress::Partial));
    assert!(parser.held_bytes() < 4096, "{}", parser.held_bytes());
}

fn request() -> impl Strategy<Value = Request> {
    let plain = prop::collection::vec(any::<u8>(), 0..40);
    let tricky =
        prop::sample::select(vec![b"\r\n".to_vec(), b"$3\r\n".to_vec(), b"*1\r\n".to_vec(), vec![0; 20_000]]);
    prop::collection::vec(prop_oneof![8 => plain, 1 => tricky], 1..6)
}

/// A word that needs no quotes.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec("[a-zA-Z0-9_:.]{1,12}", 0..5)
        .prop_map(|words| (words.join(" ") + "\r\n").into_bytes())
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![6 => request().prop_map(|request| encode(&request)), 2 => line()];
    let bad = prop::sample::select(vec![
        b"*x\r\n".to_vec(),
        b"*1\r\n$-1\r\n".to_vec(),
        b"*1\r\n+\r\n".to_vec(),
        b"'\r\n".to_vec(),
    ]);
    (prop::collection::vec(good, 0..6), prop::option::weighted(0.3, bad)).prop_map(|(good, bad)| {
        let mut stream = good.concat();
        stream.extend(bad.unwrap_or_default());
        stream
    })
}

proptest! {
    #[test]
    fn a_stream_cut_at_any_byte_says_the_same(stream in stream()) {
        let whole = read(&[&stream], &LIMITS);
        // Long arguments of one byte repeated make many cuts alike.
        let step = (stream.len() / 400).max(1);
        for cut in (0..=stream.len()).step_by(step) {
            prop_assert_eq!(&read(&[&stream[..cut], &stream[cut..]], &LIMITS), &whole, "cut at {}", cut);
        }
    }

    #[test]
    fn a_stream_byte_by_byte_says_the_same(stream in stream()) {
        let pieces: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(read(&pieces, &LIMITS), read(&[&stream], &LIMITS));
    }

    #[test]
    fn what_is_written_is_read(requests in prop::collection::vec(request(), 0..5)) {
        let stream = requests.iter().map(encode).collect::<Vec<_>>().concat();
        prop_assert_eq!(read(&[&stream], &LIMITS), (requests, None));
    }

    #[test]
    fn garbage_ends_or_waits_and_holds_no_more_than_its_bytes(stream in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut parser = Parser::default();
        let _ = parser.advance(&stream, &LIMITS);
        prop_assert!(parser.held_bytes() <= 16 * stream.len() + 4096);
    }
}
