//! One connection: bytes in, commands in their order, bytes out.
//!
//! Invariants:
//! - answers leave in the order of their commands; a command that looks begins when all writes before it are decided;
//! - writes are under way together only as far as something keeps them in order: all of them unconditional and of one shard,
//!   or all on one key;
//! - a connection whose answers are not taken is not listened to: what it holds stays within its bounds.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use io_oi_client::ShardId;
use rustix::net::sockopt;

use super::{Counts, House};
use crate::command::{self, Answering, Command, Look, Peer, Run};
use crate::edit::Answer;
use crate::error::CommandError;
use crate::reply::{Protocol, Reply};
use crate::request::{Arguments, LINE_BYTES_MAX, Parser, Progress, ProtocolError};
use crate::store::{Plan, Store};

/// See the head of the file.
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) peer: Peer,
    parser: Parser,
    input: Vec<u8>,
    /// Bytes of `input` that are done with.
    consumed: usize,
    output: Vec<u8>,
    /// Bytes of `output` that are sent.
    sent: usize,
    under_way: VecDeque<UnderWay>,
    lane: Lane,
    /// A whole request stands there that waits for nothing but a turn, or for room in the store.
    has_more: bool,
    /// Nothing more comes from there.
    is_over: bool,
    /// Nothing more is read or sent.
    is_broken: bool,
    /// When it last took or gave a byte that it owed.
    moved: Instant,
}

struct UnderWay {
    errand: usize,
    /// Whether its answer is sent.
    is_answered: bool,
}

/// What keeps the writes under way in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lane {
    /// There are none.
    Free,
    /// The ring of this shard: no write looks at a value.
    Ring(ShardId),
    /// The queue of this key.
    Key(Box<[u8]>),
    /// Nothing: there is one command under way, on several keys.
    Alone,
}

/// What a connection may ask of everybody else.
pub(super) struct Surroundings<'a> {
    pub(super) house: &'a House,
    pub(super) counts: &'a Counts,
    pub(super) others: &'a dyn Fn() -> Vec<String>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, id: u64, house: &House) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        let now = Instant::now();
        let peer = Peer {
            id,
            address: stream.peer_addr()?,
            own_address: stream.local_addr()?,
            connected: now,
            last_heard: now,
            last_command: "NULL",
            name: Vec::new(),
            library: Vec::new(),
            library_version: Vec::new(),
            protocol: Protocol::default(),
            is_authenticated: !house.has_password(),
            answering: Answering::On,
            is_leaving: false,
        };
        Ok(Self {
            stream,
            peer,
            parser: Parser::default(),
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
            sent: 0,
            under_way: VecDeque::new(),
            lane: Lane::Free,
            has_more: false,
            is_over: false,
            is_broken: false,
            moved: now,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether there is any use in reading now.
    pub(super) fn wants_input(&self) -> bool {
        !self.is_over
            && !self.is_stuck()
            && self.unread().len() < INPUT_BYTES_SOFT.max(self.parser.bytes_needed())
    }

    pub(super) fn wants_output(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Whether it can be forgotten.
    pub(super) fn is_done(&self) -> bool {
        let is_idle = self.under_way.is_empty() && !self.wants_output();
        self.is_broken || (is_idle && (self.peer.is_leaving || (self.is_over && !self.has_more)))
    }

    /// Bytes of memory behind it.
    pub(super) fn held_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.parser.held_bytes()
    }

    /// Whether it owes something for too long, or was silent for too long.
    pub(super) fn is_late(&self, house: &House, now: Instant) -> bool {
        let limits = house.limits();
        let is_partial = !self.unread().is_empty() && self.under_way.is_empty() && !self.has_more;
        let owes = self.wants_output() || is_partial;
        let is_stalled = owes && now.saturating_duration_since(self.moved) >= limits.stall_max;
        let silence = now.saturating_duration_since(self.peer.last_heard);
        let is_idle = self.under_way.is_empty() && limits.idle_max.is_some_and(|idle| silence >= idle);
        is_stalled || is_idle
    }

    /// What is under way goes on without it.
    pub(super) fn abandon(&mut self, store: &mut Store) {
        self.under_way.drain(..).for_each(|under_way| store.forget(under_way.errand));
    }

    /// Says that nothing more is said, and takes what has come meanwhile: a socket that is closed over unread bytes takes the
    /// last word back.
    pub(super) fn hang_up(mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut waste = [0; READ_BYTES_MIN];
        for _ in 0..WASTED_READS_MAX {
            match self.stream.read(&mut waste) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Reads what is there, up to a bound: others want to be read, too.
    pub(super) fn read(&mut self, now: Instant) {
        let mut budget = READ_BYTES_MAX;
        while budget > 0 && self.wants_input() {
            let have = self.input.len();
            let wanted = self.parser.bytes_needed().saturating_sub(self.unread().len());
            self.input.resize(have + wanted.clamp(READ_BYTES_MIN, READ_BYTES_MAX), 0);
            let read = self.stream.read(&mut self.input[have..]);
            self.input.truncate(have + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => self.is_over = true,
                Ok(bytes) => {
                    (self.peer.last_heard, self.moved) = (now, now);
                    if bytes < READ_BYTES_MIN {
                        return;
                    }
                    budget = budget.saturating_sub(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.is_broken = true,
            }
            if self.is_broken {
                return;
            }
        }
    }

    /// Gives the answers that are there and runs what can be run. True when there is more to run that need not wait.
    pub(super) fn advance(&mut self, mut store: Option<&mut Store>, around: &Surroundings<'_>) -> bool {
        let mut commands_left = COMMANDS_PER_TURN;
        self.has_more = false;
        loop {
            if let Some(store) = store.as_deref_mut() {
                self.collect(store, around);
            }
            if self.is_broken || self.peer.is_leaving || self.is_stuck() {
                break;
            }
            if commands_left == 0 {
                self.has_more = true;
                break;
            }
            commands_left -= 1;
            if !self.step(store.as_deref_mut(), around) {
                break;
            }
        }
        self.tidy_input();
        self.flush();
        self.has_more
    }

    /// Sends what it can.
    pub(super) fn flush(&mut self) {
        while self.wants_output() && !self.is_broken {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => self.is_broken = true,
                Ok(bytes) => {
                    self.sent += bytes;
                    self.moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.is_broken = true,
            }
        }
        if !self.wants_output() {
            self.output.clear();
            self.output.shrink_to(BUFFER_BYTES_KEPT);
            self.sent = 0;
        }
    }

    fn unread(&self) -> &[u8] {
        &self.input[self.consumed..]
    }

    /// Too much waits to be taken by the other side, or to be decided.
    fn is_stuck(&self) -> bool {
        self.output.len() - self.sent > OUTPUT_BYTES_SOFT || self.under_way.len() >= UNDER_WAY_MAX
    }

    /// Takes one request and runs it; false when there is none, or it must wait.
    fn step(&mut self, store: Option<&mut Store>, around: &Surroundings<'_>) -> bool {
        let limits = around.house.limits().request;
        let limits = if self.peer.is_authenticated { limits } else { limits.of_strangers() };
        let mut parser = std::mem::take(&mut self.parser);
        let input = std::mem::take(&mut self.input);
        let request = &input[self.consumed..];
        let went_on = match parser.advance(request, &limits) {
            Ok(Progress::Partial) => false,
            Ok(Progress::Whole { bytes }) => {
                let arguments = parser.arguments(&request[..bytes]);
                let is_run = arguments.is_empty() || self.run(&arguments, store, around);
                if is_run {
                    self.consumed += bytes;
                }
                is_run
            }
            Err(error) => self.refuse(error, around.counts),
        };
        (self.parser, self.input) = (parser, input);
        went_on
    }

    /// The stream makes no sense any more: a last word, behind the answers to everything before.
    fn refuse(&mut self, error: ProtocolError, counts: &Counts) -> bool {
        if self.under_way.is_empty() {
            counts.errors.add(1);
            self.reply(usize::MAX).error(&format!("ERR {error}"));
            self.peer.is_leaving = true;
        }
        false
    }

    /// Runs one command; false when it must wait for those before it.
    fn run(
        &mut self,
        arguments: &Arguments<'_>,
        store: Option<&mut Store>,
        around: &Surroundings<'_>,
    ) -> bool {
        let checked = self.check(arguments, store.is_some());
        let begun = match (checked, store) {
            (Ok(Some(Command { run: Run::Edit(plan), name, .. })), Some(store)) => match plan(arguments) {
                Ok(plan) => return self.begin(&plan, name, store, around),
                Err(error) => Err(error),
            },
            // The check lets no edit pass without a store.
            (Ok(Some(Command { run: Run::Edit(_), .. })), None) => Err(CommandError::Loading),
            (Ok(Some(Command { run: Run::Look(look), name, .. })), store) => Ok(Some((look, name, store))),
            (Ok(None), _) => Ok(None),
            (Err(error), _) => Err(error),
        };
        if !self.under_way.is_empty() {
            return false;
        }
        around.counts.commands.add(1);
        let bytes_max = self.output_bytes_max(around.house);
        let begin = self.output.len();
        let was_answering = self.peer.answering;
        let mut reply = Reply::new(&mut self.output, self.peer.protocol, bytes_max);
        let looked = match begun {
            Ok(Some((look, name, store))) => {
                self.peer.last_command = name;
                let (house, counts, others) = (around.house, around.counts, around.others);
                look(
                    &mut Look { peer: &mut self.peer, store, house, counts, others, reply: &mut reply },
                    arguments,
                )
            }
            // Somebody's browser was made to talk to us: not another byte.
            Ok(None) => {
                tracing::warn!(address = %self.peer.address, "an HTTP request came to the Redis gateway: disconnected");
                self.is_broken = true;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            around.counts.errors.add(1);
            reply.error(&error.to_string());
        }
        if reply.is_cut() {
            tracing::warn!(address = %self.peer.address, "an answer was longer than a client may have: disconnected");
            self.is_broken = true;
        }
        self.keep_or_drop_answer(was_answering, begin);
        true
    }

    /// What to run, or why not. Nothing, when it is no command but an attack.
    fn check(
        &self,
        arguments: &Arguments<'_>,
        has_store: bool,
    ) -> Result<Option<&'static Command>, CommandError> {
        let name = arguments.at(0);
        if name.eq_ignore_ascii_case(b"host:") || name.eq_ignore_ascii_case(b"post") {
            return Ok(None);
        }
        let command = command::find(name).ok_or_else(|| command::unknown(arguments))?;
        if !command.has_arity(arguments.len()) {
            return Err(CommandError::Arity(command.name.to_owned()));
        }
        if !self.peer.is_authenticated && !command.is_open_to_strangers() {
            return Err(CommandError::NoAuth);
        }
        if !has_store && !command.is_answered_while_loading() {
            return Err(CommandError::Loading);
        }
        Ok(Some(command))
    }

    /// Puts a plan on its way; false when it must wait for those before it.
    fn begin(
        &mut self,
        plan: &Plan<'_>,
        name: &'static str,
        store: &mut Store,
        around: &Surroundings<'_>,
    ) -> bool {
        let Some(lane) = self.joined(plan, store) else { return false };
        if !store.has_room() {
            self.has_more = true;
            return false;
        }
        around.counts.commands.add(1);
        self.peer.last_command = name;
        let errand = store.begin(plan, self.peer.id);
        let is_answered = match self.peer.answering {
            Answering::On => true,
            Answering::Off => false,
            Answering::SkipNext => {
                self.peer.answering = Answering::On;
                false
            }
        };
        self.under_way.push_back(UnderWay { errand, is_answered });
        self.lane = lane;
        true
    }

    /// The lane in which a plan may begin now, if it may.
    fn joined(&self, plan: &Plan<'_>, store: &Store) -> Option<Lane> {
        let is_free = self.under_way.is_empty();
        let Some((first, _)) = plan.parts.first() else { return is_free.then_some(Lane::Alone) };
        let shard = store.shard_of(first);
        let is_ring = plan.parts.iter().all(|(key, edit)| edit.is_blind() && store.shard_of(key) == shard);
        match &self.lane {
            _ if is_free && is_ring => Some(Lane::Ring(shard)),
            _ if is_free && plan.parts.len() == 1 => Some(Lane::Key((*first).into())),
            _ if is_free => Some(Lane::Alone),
            Lane::Ring(at) => (is_ring && *at == shard).then(|| self.lane.clone()),
            Lane::Key(key) => (plan.parts.len() == 1 && **key == **first).then(|| self.lane.clone()),
            Lane::Free | Lane::Alone => None,
        }
    }

    /// Answers what is decided, in order.
    fn collect(&mut self, store: &mut Store, around: &Surroundings<'_>) {
        while let Some(front) = self.under_way.front()
            && store.is_finished(front.errand)
        {
            let answer = store.take_answer(front.errand);
            let is_answered = front.is_answered;
            self.under_way.pop_front();
            if matches!(answer, Answer::Failed(_)) {
                around.counts.errors.add(1);
            }
            if is_answered {
                let bytes_max = self.output_bytes_max(around.house);
                let mut reply = self.reply(bytes_max);
                give(&answer, &mut reply);
                self.is_broken |= reply.is_cut();
            }
        }
        if self.under_way.is_empty() {
            self.lane = Lane::Free;
        }
    }

    fn reply(&mut self, bytes_max: usize) -> Reply<'_> {
        Reply::new(&mut self.output, self.peer.protocol, bytes_max)
    }

    fn output_bytes_max(&self, house: &House) -> usize {
        self.sent.saturating_add(house.limits().output_bytes_max)
    }

    /// `CLIENT REPLY` may have chosen silence, before or by this command.
    fn keep_or_drop_answer(&mut self, before: Answering, begin: usize) {
        match (before, self.peer.answering) {
            (_, Answering::Off) => self.output.truncate(begin),
            (Answering::SkipNext, _) => {
                self.output.truncate(begin);
                self.peer.answering = Answering::On;
            }
            _ => {}
        }
    }

    fn tidy_input(&mut self) {
        if self.consumed == self.input.len() {
            self.input.clear();
            self.input.shrink_to(BUFFER_BYTES_KEPT);
            self.consumed = 0;
        } else if self.consumed >= READ_BYTES_MAX {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
    }
}

fn give(answer: &Answer, reply: &mut Reply<'_>) {
    match answer {
        Answer::Ok => reply.ok(),
        Answer::Nil => reply.null(),
        Answer::Integer(number) => reply.integer(*number),
        Answer::Bulk(bytes) => reply.bulk(bytes),
        Answer::Failed(error) => reply.error(&error.to_string()),
    }
}

/// Redis's own default.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(300);
/// A read takes at least so many bytes of room.
const READ_BYTES_MIN: usize = 16 * 1024;
/// How often whoever was refused is read once more.
const WASTED_READS_MAX: usize = 16;
/// One turn of a connection reads at most about so many bytes.
const READ_BYTES_MAX: usize = 64 * 1024;
/// While so much is unread, nothing more is read, unless one request is longer. A line that is too long shows itself within it.
const INPUT_BYTES_SOFT: usize = 2 * LINE_BYTES_MAX;
/// While so much waits to be taken, no further command is run.
const OUTPUT_BYTES_SOFT: usize = 256 * 1024;
/// Most writes of one connection that wait for their answers.
const UNDER_WAY_MAX: usize = 1024;
/// One turn of a connection runs at most so many commands.
const COMMANDS_PER_TURN: usize = 1024;
/// What an idle connection keeps of each buffer.
const BUFFER_BYTES_KEPT: usize = 0;
