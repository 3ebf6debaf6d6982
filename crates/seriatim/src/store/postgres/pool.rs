//! Connections, kept open. Lanes, those who wait for somebody, and readers have their own shares, so that none of
//! them can take the last connection of another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Connection;
use super::fault::Fault;
use super::place::Place;

/// Whose share a connection is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// A lane's batch, which waits for nobody.
    Lane,
    /// A batch that waits for what somebody else holds.
    Waiting,
    /// A read.
    Reading,
    /// What the store does for itself: it says that it lives, and asks what became of a commit.
    Own,
}

/// How many connections the store has for itself.
const OWN_MAX: usize = 2;

pub(super) struct Pool {
    pub(super) place: Place,
    tls: MakeRustlsConnect,
    lanes: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    own: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection for a while. It goes back only by [`Lease::keep`]: whoever is torn away in the middle of something
/// leaves a connection behind that nobody else may use.
pub(super) struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(place: Place, tls: MakeRustlsConnect, lanes: usize, waiting: usize, reading: usize) -> Self {
        Self {
            place,
            tls,
            lanes: Arc::new(Semaphore::new(lanes)),
            waiting: Arc::new(Semaphore::new(waiting)),
            reading: Arc::new(Semaphore::new(reading)),
            own: Arc::new(Semaphore::new(OWN_MAX)),
            idle: Mutex::default(),
        }
    }

    pub(super) async fn lease(self: &Arc<Self>, share: Share, within: Duration) -> Result<Lease, Fault> {
        let deadline = Instant::now() + within;
        let permits = match share {
            Share::Lane => &self.lanes,
            Share::Waiting => &self.waiting,
            Share::Reading => &self.reading,
            Share::Own => &self.own,
        };
        let permit = timeout_at(deadline, permits.clone().acquire_owned()).await;
        // The semaphores are never closed; if one were, nothing would be free.
        let permit = permit.ok().and_then(Result::ok).ok_or(Fault::Exhausted(within))?;
        let connection = match self.idle() {
            Some(connection) => connection,
            None => Connection::open(&self.place, &self.tls, deadline).await?,
        };
        Ok(Lease {
            connection: Some(connection),
            pool: self.clone(),
            _permit: permit,
        })
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // After a restart of the server all of them are closed.
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    pub(super) fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Lease {
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Fault> {
        self.connection
            .as_mut()
            .ok_or_else(|| Fault::damage("a connection was used after it was given back"))
    }

    /// Gives the connection back; it is in no transaction.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take()
            && !connection.is_closed()
        {
            self.pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }

    /// Rolls back and gives the connection back, unless it is broken.
    pub(super) async fn roll_back(mut self, within: Duration) {
        use super::connection::Command;
        let Some(connection) = &mut self.connection else { return };
        if connection.run(vec![Command::Plain("rollback")], within).await.is_ok() {
            self.keep();
        }
    }
}
