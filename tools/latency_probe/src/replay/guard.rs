//! An account that follows the market under `risk-limit`: every order that the market adds is proposed for it, too, and every
//! answer is held against a model of the account that knows nothing of the judge.
//!
//! Invariant: the model sees what the receipts say, in the order of their sequences; it shares the bytes of orders and
//! cells with the judge, none of its rules.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use io_oi_client::{Client, PutError, inquire};
use io_oi_guests::order::{Order, Side as Way};
use io_oi_guests::prebuilt;
use io_oi_guests::risk_limit::{self, Account};
use io_oi_record::attach::{Inquiry, Submission};
use io_oi_record::governance::{ArbitratorChoice, Change, Governance, SignedGovernance};
use io_oi_record::hash::Domain;
use io_oi_record::limits::PART_BYTES_MAX;
use io_oi_record::{
    ComponentPart, Durability, Nanos, Outcome, Receipt, RefusalCode, SessionSequence, ShardId, Shipment,
    Signer,
};
use serde_json::{Value, json};

use super::event::{Action, Event, Side};
use crate::cluster::Status;
use crate::failure::Failure;
use crate::nodes::{self, Nodes};

/// The account under guard.
pub(crate) struct Guard {
    client: Client,
    limits: Option<Account>,
    /// The operator of a node alone: its own key.
    own_operator: Option<Signer>,
    open: HashMap<SessionSequence, Order>,
    decided: Vec<(Receipt, Order)>,
}

/// What became of the account.
pub(crate) struct Guarded {
    pub(crate) facts: Value,
    /// Answers that the model contradicts, and cells that are not as it says.
    pub(crate) differences: u64,
}

impl Guard {
    /// A client of its own; the judge is deployed with the first order, whose price the collar is around.
    pub(crate) fn new(nodes: &Nodes, place: usize, patience: Duration) -> Result<Self, Failure> {
        let socket = &nodes.sockets()[place];
        let client = nodes::attach(socket, "latency-probe account", patience)?;
        if client.shards() > 1 {
            return Err(Failure::Usage(
                "--risk-limit wants one shard: an account is one cell on one shard".into(),
            ));
        }
        let own_operator = own_operator(nodes)?;
        let (open, decided) = (HashMap::new(), Vec::new());
        Ok(Self { client, limits: None, own_operator, open, decided })
    }

    /// The account follows the market: what is added to the book is ordered for it, too.
    pub(crate) fn offer(&mut self, event: &Event, nodes: &Nodes) -> Result<(), Failure> {
        let side = match event.side {
            Side::Bid => Way::Buy,
            Side::Ask => Way::Sell,
            _ => return Ok(()),
        };
        let price = u64::try_from(event.price).ok().filter(|price| *price > 0 && *price < i64::MAX as u64);
        let (Action::Add, Some(price), true) = (event.action, price, event.size > 0) else { return Ok(()) };
        if self.limits.is_none() {
            self.deploy(price, nodes)?;
        }
        let order = Order { side, quantity: event.size.into(), price };
        let key = [ACCOUNT, event.number.to_string().as_bytes()].concat();
        loop {
            match self.client.put_with(&key, &order.encode(), Durability::DiskQuorum) {
                Ok(ticket) => {
                    self.open.insert(ticket.session_sequence, order);
                    return Ok(());
                }
                Err(PutError::Full { .. } | PutError::NodeAway) => self.rest()?,
                Err(error) => return Err(Failure::Refused(error.to_string())),
            }
        }
    }

    /// Takes the answers that are there.
    pub(crate) fn collect(&mut self) -> Result<(), Failure> {
        let (open, decided) = (&mut self.open, &mut self.decided);
        let mut strange = None;
        self.client.poll(|ticket, receipt| match open.remove(&ticket.session_sequence) {
            Some(order) => decided.push((*receipt, order)),
            None => strange = Some(ticket),
        });
        match strange {
            Some(ticket) => Err(Failure::Refused(format!("a receipt for {ticket}, which waits for none"))),
            None => {
                self.client.lost_reason().map_or(Ok(()), |reason| Err(Failure::NodeGone(reason.to_owned())))
            }
        }
    }

    /// Waits for the last answers, and holds all of them and every node's cell against the model.
    pub(crate) fn finish(mut self, nodes: &Nodes) -> Result<Guarded, Failure> {
        let deadline = Instant::now() + ANSWERS_MAX;
        while !self.open.is_empty() && Instant::now() < deadline {
            self.rest()?;
        }
        let unanswered = self.open.len() as u64;
        let Some(limits) = self.limits else {
            return Err(Failure::Usage("--risk-limit: the files add no order that has a price".into()));
        };
        nodes.wait_until_level(ANSWERS_MAX);
        self.decided.sort_by_key(|(receipt, _)| receipt.sequence);
        let mut model = Model::new(limits);
        let (mut refused, mut differences) = (BTreeMap::<String, u64>::new(), unanswered);
        for (receipt, order) in &self.decided {
            let expected = match model.decide(order, receipt.time.get()) {
                Ok(()) => Outcome::Accepted,
                Err(code) => {
                    let code = RefusalCode::arbitrator(code).expect("codes of the judge are small");
                    *refused.entry(code.to_string()).or_default() += 1;
                    Outcome::Refused(code)
                }
            };
            if receipt.outcome != expected {
                differences += 1;
                eprintln!("different: {order:?} was answered {:?}, it is {expected:?}", receipt.outcome);
            }
        }
        for socket in nodes.sockets() {
            let cell = cell_at(&socket)?;
            if cell != Some(model.cell()) {
                differences += 1;
                eprintln!("different: {} holds {cell:?}, it is {:?}", socket.display(), model.cell());
            }
        }
        let facts = json!({
            "orders": self.decided.len(),
            "accepted": model.orders,
            "refused": refused,
            "position": model.position.to_string(),
            "differences": differences,
        });
        Ok(Guarded { facts, differences })
    }

    /// How many records of the log are this account's.
    pub(crate) fn records(&self) -> u64 {
        self.decided.len() as u64
    }

    fn rest(&mut self) -> Result<(), Failure> {
        self.collect()?;
        rustix::thread::sched_yield();
        Ok(())
    }

    /// The account's limits first, then the judge that lets nobody but itself change them.
    fn deploy(&mut self, reference_price: u64, nodes: &Nodes) -> Result<(), Failure> {
        let limits = Account {
            collar_bps: 300,
            reference_price,
            order_max: 20,
            position_max: 200,
            notional_max: 2_000_000_000_000_000_000,
            window_ns: 50_000_000,
            messages_max: 100,
            ..Account::default()
        };
        let written =
            self.client.put_and_wait(ACCOUNT, &limits.encode(), Durability::DiskQuorum, ANSWERS_MAX);
        written.map_err(|error| Failure::Refused(format!("the account: {error}")))?;
        let bytes = prebuilt::component("risk-limit").expect("a standard judge");
        let component = Domain::Arbitrator.hash(bytes);
        for part in bytes.chunks(PART_BYTES_MAX) {
            self.decide(Change::StorePart(ComponentPart::of(component, part)), part, nodes)?;
        }
        let choice = ArbitratorChoice {
            prefix: PREFIX.to_vec(),
            arbitrator: component,
            is_shadow: false,
            versions: io_oi_arbitrator::VERSIONS,
        };
        self.decide(Change::SetArbitrator(choice), &[], nodes)?;
        self.limits = Some(limits);
        Ok(())
    }

    /// Brings an operator's decision to the leader, again while the component is being looked at.
    fn decide(&self, change: Change, payload: &[u8], nodes: &Nodes) -> Result<(), Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
        let operator =
            nodes.operator().or(self.own_operator.as_ref()).ok_or_else(|| refused(&"no operator's key"))?;
        let deadline = Instant::now() + ANSWERS_MAX;
        loop {
            let leader = nodes.wait_for_leader(ShardId(0))?;
            let statuses = nodes.statuses();
            let status: &Status =
                statuses[leader].as_ref().ok_or_else(|| refused(&"the leader does not answer"))?;
            let governance = Governance {
                cluster: status.cluster.parse().map_err(|error| refused(&error))?,
                number: status.shards[0].governance + 1,
                time: Nanos(1),
                change: change.clone(),
                operator: operator.operator(),
            };
            let signed = SignedGovernance::sign(governance, operator);
            let signed = Shipment { signed, payload }.encode().map_err(|error| refused(&error))?;
            let inquiry = Inquiry::Govern(Submission { shard: ShardId(0), signed });
            let answer = inquire(&nodes.sockets()[leader], &inquiry).map_err(|error| refused(&error))?;
            let receipt = Receipt::decode(&answer).map_err(|error| refused(&error))?;
            match receipt.outcome {
                Outcome::Accepted => return Ok(()),
                Outcome::Refused(RefusalCode::ArbitratorNotAdmitted) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Outcome::Refused(code) => {
                    return Err(Failure::Refused(format!("the deployment: {}", code.text())));
                }
            }
        }
    }
}

/// A node alone is its own operator; of several, the probe that founded them is.
fn own_operator(nodes: &Nodes) -> Result<Option<Signer>, Failure> {
    let usage = || {
        Failure::Usage("--risk-limit deploys a judge: only to nodes of the probe's own, fresh ones".into())
    };
    if nodes.operator().is_some() {
        return Ok(None);
    }
    let socket = nodes.sockets().into_iter().next().filter(|_| nodes.are_spawned()).ok_or_else(usage)?;
    let key = socket.parent().unwrap_or(Path::new(".")).join("node.key");
    let text = std::fs::read_to_string(key).map_err(Failure::io("reading the node's key"))?;
    let secret: io_oi_record::Hash = text.trim().parse().map_err(|_| usage())?;
    Ok(Some(Signer::from_secret(&secret.0)))
}

fn cell_at(socket: &Path) -> Result<Option<Account>, Failure> {
    let mut client = nodes::attach(socket, "latency-probe compare", ANSWERS_MAX)?;
    let mut found = None;
    client
        .scan_committed(ACCOUNT, |key, value, _| {
            if key == ACCOUNT {
                found = Account::decode(value);
            }
        })
        .map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(found)
}

/// The account as its page says it works, in wide numbers.
struct Model {
    limits: Account,
    position: i128,
    notional: u128,
    window: Option<(u64, u32)>,
    orders: u64,
}

impl Model {
    fn new(limits: Account) -> Self {
        Self { limits, position: 0, notional: 0, window: None, orders: 0 }
    }

    fn decide(&mut self, order: &Order, time_ns: u64) -> Result<(), u32> {
        let Account { collar_bps, reference_price, .. } = self.limits;
        let ends = |begin: u64| u128::from(begin) + u128::from(self.limits.window_ns);
        let (begin, messages) = match self.window {
            Some((begin, messages)) if u128::from(time_ns) < ends(begin) => (begin, messages),
            _ => (time_ns, 0),
        };
        let signed = i128::from(order.quantity) * if order.side == Way::Buy { 1 } else { -1 };
        let (position, notional) =
            (self.position + signed, self.notional + u128::from(order.quantity) * u128::from(order.price));
        let distance = (i128::from(order.price) - i128::from(reference_price)).unsigned_abs() * 10_000;
        let rules = [
            (messages < self.limits.messages_max, risk_limit::RATE),
            (order.quantity <= self.limits.order_max, risk_limit::ORDER_TOO_LARGE),
            (distance <= u128::from(reference_price) * u128::from(collar_bps), risk_limit::OUTSIDE_COLLAR),
            (position.unsigned_abs() <= self.limits.position_max.into(), risk_limit::POSITION),
            (notional <= self.limits.notional_max.into(), risk_limit::NOTIONAL),
        ];
        if let Some((_, code)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(code);
        }
        (self.position, self.notional, self.window) = (position, notional, Some((begin, messages + 1)));
        self.orders += 1;
        Ok(())
    }

    /// The cell that every node should hold.
    fn cell(&self) -> Account {
        let (window_begin_ns, messages) = self.window.unwrap_or_default();
        Account {
            messages,
            window_begin_ns,
            position: self.position.try_into().unwrap_or(i64::MAX),
            notional: self.notional.try_into().unwrap_or(u64::MAX),
            orders: self.orders,
            ..self.limits
        }
    }
}

const PREFIX: &[u8] = b"acct/";
const ACCOUNT: &[u8] = b"acct/probe/";
/// Whoever has not answered by then never will.
const ANSWERS_MAX: Duration = Duration::from_secs(30);
