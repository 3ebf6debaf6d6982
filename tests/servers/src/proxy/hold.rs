//! Which gates a transaction writes, as the messages of its client show it, and where it is held.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

/// Where a transaction is held that brings a gate into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// COMMIT came, and is not passed on.
    BeforeCommit,
    /// The server has committed, and its answer is not passed on.
    AfterCommit,
}

/// A gate as a transaction writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenGate {
    /// Its id.
    pub id: String,
    /// What it stands before.
    pub effect: String,
    /// For whom.
    pub subject: String,
    /// The state that it comes into.
    pub state: String,
}

struct Wanted {
    effect: String,
    state: String,
    at: Hold,
    reached: mpsc::UnboundedSender<WrittenGate>,
    let_go: watch::Receiver<bool>,
}

/// An order to hold a transaction; it lets go when it is dropped.
pub struct Held {
    reached: mpsc::UnboundedReceiver<WrittenGate>,
    let_go: watch::Sender<bool>,
}

impl Held {
    /// Waits until a transaction stands there; which gate it writes.
    ///
    /// # Panics
    /// Another order came in place of this one.
    pub async fn reached(&mut self) -> WrittenGate {
        self.reached.recv().await.expect("the order stands")
    }

    /// Lets it go on.
    pub fn let_go(&self) {
        self.let_go.send_replace(true);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The order of a proxy, if it has one.
#[derive(Clone, Default)]
pub(super) struct Orders(Arc<Mutex<Option<Wanted>>>);

impl Orders {
    pub(super) fn give(&self, effect: &str, state: &str, at: Hold) -> Held {
        let (tell, reached) = mpsc::unbounded_channel();
        let (let_go, told) = watch::channel(false);
        let wanted = Wanted {
            effect: effect.to_string(),
            state: state.to_string(),
            at,
            reached: tell,
            let_go: told,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        Held { reached, let_go }
    }

    pub(super) fn withdraw(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes the order if one of these gates is meant; only one transaction gets it.
    pub(super) fn take(&self, gates: &[WrittenGate]) -> Option<Order> {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let order = wanted.as_ref()?;
        let is_meant = |gate: &&WrittenGate| gate.effect == order.effect && gate.state == order.state;
        let gate = gates.iter().find(is_meant)?.clone();
        wanted.take().map(|wanted| Order { gate, wanted })
    }
}

/// An order that one transaction got.
pub(super) struct Order {
    gate: WrittenGate,
    wanted: Wanted,
}

impl Order {
    pub(super) fn at(&self) -> Hold {
        self.wanted.at
    }

    /// Says that it stands there, and waits until it may go on.
    pub(super) async fn stand(mut self) {
        // An error means that nobody waits any more, who then holds nothing either.
        let _ = self.wanted.reached.send(self.gate);
        let _ = self.wanted.let_go.wait_for(|may_go| *may_go).await;
    }
}

/// The names of one connection under which gates are written, and those written by the transaction under way.
#[derive(Default)]
pub(super) struct Gates {
    statements: BTreeSet<Vec<u8>>,
    pub(super) written: Vec<WrittenGate>,
}

impl Gates {
    /// Learns from a message of the client.
    pub(super) fn look(&mut self, kind: u8, body: &[u8]) {
        match kind {
            b'P' => self.parse(body),
            b'B' => self.written.extend(self.bound(body).unwrap_or_default()),
            _ => {}
        }
    }

    /// The name of a statement and its text: whether it is the one that writes gates.
    fn parse(&mut self, body: &[u8]) {
        let mut parts = body.split(|byte| *byte == 0);
        let (Some(name), Some(sql)) = (parts.next(), parts.next()) else {
            return;
        };
        if String::from_utf8_lossy(sql).contains("insert into seriatim.gate ") {
            self.statements.insert(name.to_vec());
        } else {
            self.statements.remove(name);
        }
    }

    /// The gates among the values of a statement: its first columns are id, tenant, effect, subject, state.
    fn bound(&self, body: &[u8]) -> Option<Vec<WrittenGate>> {
        let mut rest = Reader(body);
        rest.text()?;
        if !self.statements.contains(rest.text()?) {
            return None;
        }
        let formats = rest.short()?;
        rest.take(formats * 2)?;
        let values = rest.short()?;
        let columns: Vec<Vec<String>> = (0..values.min(5)).map(|_| rest.texts()).collect::<Option<_>>()?;
        let [ids, _, effects, subjects, states] = columns.as_slice() else {
            return None;
        };
        let rows = ids.iter().zip(effects).zip(subjects).zip(states);
        let gates = rows.map(|(((id, effect), subject), state)| WrittenGate {
            id: id.clone(),
            effect: effect.clone(),
            subject: subject.clone(),
            state: state.clone(),
        });
        Some(gates.collect())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let taken = self.take(end)?;
        self.take(1)?;
        Some(taken)
    }

    fn short(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.take(2)?.try_into().ok()?)))
    }

    fn long(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    /// A binary array of texts in one dimension.
    fn texts(&mut self) -> Option<Vec<String>> {
        let size = self.long()?;
        let mut array = Reader(self.take(size)?);
        // How many dimensions, whether it holds nulls, of which type.
        array.take(12)?;
        let length = array.long()?;
        // From which index.
        array.take(4)?;
        let text = |array: &mut Self| {
            let size = array.long()?;
            Some(String::from_utf8_lossy(array.take(size)?).into_owned())
        };
        (0..length).map(|_| text(&mut array)).collect()
    }
}
