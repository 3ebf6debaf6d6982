//! Between a client and PostgreSQL: passes messages on whole, and cuts or holds the connection where it is told to.

mod hold;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use hold::{Gates, Order, Orders};
pub use hold::{Held, Hold, WrittenGate};

/// Where a connection is cut, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the transaction begins.
    BeforeBegin,
    /// After so many statements of the transaction were passed on.
    AfterStatements(u32),
    /// In the middle of a row on its way back.
    MidRow,
    /// When COMMIT came, and was not passed on.
    BeforeCommit,
    /// When COMMIT was passed on, before anything comes back.
    AfterCommit,
    /// In the middle of the answer to COMMIT.
    MidAnswer,
    /// COMMIT was passed on, and nothing ever comes back, though the connection stays.
    StalledAfterCommit,
    /// COMMIT came and is not passed on, though the connection stays.
    StalledBeforeCommit,
}

impl Cut {
    /// The points of the protocol, with a few places among the statements.
    pub const ALL: [Self; 10] = [
        Self::BeforeBegin,
        Self::AfterStatements(2),
        Self::AfterStatements(7),
        Self::AfterStatements(10),
        Self::MidRow,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::MidAnswer,
        Self::StalledAfterCommit,
        Self::StalledBeforeCommit,
    ];
}

#[derive(Default)]
struct Plan {
    armed: Option<Cut>,
    made: u32,
}

/// A proxy on a port of its own. It ends with the runtime that it was started on.
pub struct Proxy {
    port: u16,
    plan: Arc<Mutex<Plan>>,
    orders: Orders,
}

impl Proxy {
    /// Listens, and passes everything on to a port of this machine.
    ///
    /// # Panics
    /// No port is free.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let orders = Orders::default();
        let (shared, held) = (plan.clone(), orders.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, shared.clone(), held.clone()));
            }
        });
        Self { port, plan, orders }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database through this proxy.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Cuts the next connection that comes to this point.
    pub fn arm(&self, cut: Cut) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).armed = Some(cut);
    }

    /// Cuts nothing any more; how often it did.
    pub fn disarm(&self) -> u32 {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.armed = None;
        plan.made
    }

    /// Holds the next transaction that brings a gate of this effect into this state.
    #[must_use]
    pub fn hold(&self, effect: &str, state: &str, at: Hold) -> Held {
        self.orders.give(effect, state, at)
    }

    /// Holds nothing any more that does not stand yet.
    pub fn hold_nothing(&self) {
        self.orders.withdraw();
    }
}

/// Takes the order to cut here, if there is one; only one connection gets it.
fn take(plan: &Mutex<Plan>, is_here: impl Fn(Cut) -> bool) -> Option<Cut> {
    let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
    let cut = plan.armed.filter(|cut| is_here(*cut))?;
    plan.armed = None;
    plan.made += 1;
    Some(cut)
}

/// What the two directions of one connection know of each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Pass,
    /// The next answer is half of it.
    Half,
    Swallow,
    Cut,
}

/// The order that the next answer to COMMIT stands for.
type Standing = Arc<Mutex<Option<Order>>>;

async fn carry(client: TcpStream, to: u16, plan: Arc<Mutex<Plan>>, orders: Orders) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
        return;
    };
    // Without this the small messages of a pipeline wait for one another.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (tell, told) = watch::channel(Answers::Pass);
    let standing = Standing::default();
    let holding = (orders, standing.clone());
    let up = tokio::spawn(pass_up(from_client, to_server, plan.clone(), tell, holding));
    let down = tokio::spawn(pass_down(from_server, to_client, plan, told, standing));
    let (up, down) = (up.abort_handle(), down.abort_handle());
    // When one direction ends, both sockets are closed.
    while !up.is_finished() && !down.is_finished() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    up.abort();
    down.abort();
}

/// A whole message: its kind, and all of its bytes. The first of a connection has no kind.
async fn message(from: &mut OwnedReadHalf, is_first: bool) -> Option<(u8, Vec<u8>)> {
    let kind = if is_first { 0 } else { from.read_u8().await.ok()? };
    let length = from.read_u32().await.ok()?;
    let mut body = vec![0; usize::try_from(length.checked_sub(4)?).ok()?];
    from.read_exact(&mut body).await.ok()?;
    let mut bytes = Vec::with_capacity(body.len() + 5);
    if !is_first {
        bytes.push(kind);
    }
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.append(&mut body);
    Some((kind, bytes))
}

async fn pass_up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Plan>>,
    tell: watch::Sender<Answers>,
    (orders, standing): (Orders, Standing),
) -> Option<()> {
    let mut is_first = true;
    let mut statements = None;
    let mut gates = Gates::default();
    loop {
        let (kind, bytes) = message(&mut from, is_first).await?;
        if !is_first {
            gates.look(kind, &bytes[5..]);
        }
        is_first = false;
        let text = String::from_utf8_lossy(&bytes[5.min(bytes.len())..]).to_lowercase();
        if kind == b'Q' && text.starts_with("begin isolation level read committed read write\0") {
            if take(&plan, |cut| cut == Cut::BeforeBegin).is_some() {
                return None;
            }
            statements = Some(0);
            gates.written.clear();
        }
        if let (b'B', Some(passed)) = (kind, &mut statements) {
            *passed += 1;
            if take(&plan, |cut| cut == Cut::AfterStatements(*passed)).is_some() {
                return None;
            }
        }
        if kind == b'Q' && text.starts_with("commit\0") && statements.take().is_some() {
            let cut = take(&plan, |cut| {
                !matches!(cut, Cut::BeforeBegin | Cut::AfterStatements(_) | Cut::MidRow)
            });
            match cut {
                Some(Cut::BeforeCommit) => return None,
                Some(Cut::StalledBeforeCommit) => std::future::pending::<()>().await,
                Some(Cut::AfterCommit) => tell.send(Answers::Cut).ok()?,
                Some(Cut::StalledAfterCommit) => tell.send(Answers::Swallow).ok()?,
                Some(Cut::MidAnswer) => tell.send(Answers::Half).ok()?,
                Some(Cut::BeforeBegin | Cut::AfterStatements(_) | Cut::MidRow) | None => {}
            }
            match orders.take(&gates.written) {
                Some(order) if order.at() == Hold::BeforeCommit => tokio::select! {
                    () = order.stand() => {}
                    () = hung_up(&mut from) => return None,
                },
                order => *standing.lock().unwrap_or_else(PoisonError::into_inner) = order,
            }
        }
        to.write_all(&bytes).await.ok()?;
    }
}

/// Returns when nothing more can come: a client that was killed while it stood here waits for nothing.
async fn hung_up(from: &mut OwnedReadHalf) {
    while from.peek(&mut [0]).await.is_ok_and(|count| count > 0) {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn pass_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Plan>>,
    told: watch::Receiver<Answers>,
    standing: Standing,
) -> Option<()> {
    loop {
        let (kind, bytes) = message(&mut from, false).await?;
        let answers = *told.borrow();
        let is_commit = kind == b'C' && bytes[5..].starts_with(b"COMMIT");
        let half = &bytes[..bytes.len() / 2];
        match answers {
            Answers::Swallow => continue,
            // What the server still answers to the statements before COMMIT does not come back either.
            Answers::Cut if is_commit => return None,
            Answers::Cut => continue,
            Answers::Half if is_commit => {
                to.write_all(half).await.ok()?;
                return None;
            }
            Answers::Half | Answers::Pass => {}
        }
        if is_commit {
            let order = standing.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(order) = order {
                order.stand().await;
            }
        }
        if kind == b'D' && take(&plan, |cut| cut == Cut::MidRow).is_some() {
            to.write_all(half).await.ok()?;
            return None;
        }
        to.write_all(&bytes).await.ok()?;
    }
}
