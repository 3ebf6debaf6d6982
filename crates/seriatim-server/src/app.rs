//! What every request shares: the issuer, the API keys, the limits, and whether we are shutting down.
//!
//! This module must never know HTTP: no status, no header, no JSON.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use seriatim::{Issuer, Timestamp};
use tokio::sync::watch;

use crate::auth::Keys;
use crate::payments::Payments;
use crate::routes::probes::Readiness;
use crate::routes::verifications::Verifications;
use crate::telemetry::Meters;

/// How the service behaves; the defaults are those of the binary.
#[derive(Clone)]
pub struct AppOptions {
    /// Whether answers keep what went wrong inside to the log.
    pub production: bool,
    /// Signs checkpoints; without it none are given out.
    pub checkpoint_key: Option<[u8; 32]>,
    /// The version that the service says it is.
    pub version: &'static str,
    /// What `/metrics` prints; see [`crate::telemetry::install`].
    pub metrics: Option<PrometheusHandle>,
    /// The payments that are taken in here, if any are.
    pub payments: Option<Arc<Payments>>,
    /// How much and how long.
    pub limits: Limits,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            production: false,
            checkpoint_key: None,
            version: env!("CARGO_PKG_VERSION"),
            metrics: None,
            payments: None,
            limits: Limits::default(),
        }
    }
}

/// How much a request may bring, and how long it may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body of most calls, in bytes.
    pub body_max: usize,
    /// The largest body of a batch, in bytes.
    pub batch_body_max: usize,
    /// The largest body that brings a checkpoint, in bytes: some 200 for each counter and each gate.
    pub checkpoint_body_max: usize,
    /// Within this the head of a request must have arrived; a connection may idle as long between two requests.
    pub head_within: Duration,
    /// How many connections there may be; beyond this they wait to be accepted.
    pub connections_max: usize,
    /// Within this a body must have arrived.
    pub body_within: Duration,
    /// Within this a read must be answered, and a checkpoint must have arrived.
    pub read_within: Duration,
    /// The longest wait that `Prefer: wait=N` can ask for. From a shutdown on it is the usual deadline.
    pub wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_max: 128 * 1024,
            batch_body_max: 8 * 1024 * 1024,
            checkpoint_body_max: 64 * 1024 * 1024,
            head_within: Duration::from_secs(30),
            connections_max: 10_000,
            body_within: Duration::from_secs(10),
            read_within: Duration::from_secs(60),
            wait_max: Duration::from_secs(30),
        }
    }
}

/// The service. Cheap to clone; every clone is the same service.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: Issuer,
    options: AppOptions,
    keys: Keys,
    readiness: Readiness,
    verifications: Verifications,
    meters: Meters,
    description: OnceLock<Bytes>,
    stopping: watch::Sender<bool>,
    requests: AtomicU64,
    /// Two processes must not give the same ids to their requests.
    process: u32,
}

impl App {
    /// The service of one store.
    #[must_use]
    pub fn new(issuer: Issuer, options: AppOptions) -> Self {
        let shared = Shared {
            issuer,
            options,
            keys: Keys::default(),
            readiness: Readiness::default(),
            verifications: Verifications::default(),
            meters: Meters::default(),
            description: OnceLock::new(),
            stopping: watch::Sender::new(false),
            requests: AtomicU64::new(0),
            process: rand::random(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Who issues.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.shared.issuer
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &AppOptions {
        &self.shared.options
    }

    pub(crate) fn payments(&self) -> Option<&Arc<Payments>> {
        self.shared.options.payments.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.options.limits
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    pub(crate) fn verifications(&self) -> &Verifications {
        &self.shared.verifications
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// Keeps the description of the interface, once it is known.
    pub(crate) fn describe(&self, description: String) {
        self.shared.description.get_or_init(|| Bytes::from(description));
    }

    pub(crate) fn description(&self) -> Bytes {
        self.shared.description.get().cloned().unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.issuer.clock().now()
    }

    /// From now on `/readyz` says no, so that no new work is sent here, and who only waits is answered.
    pub fn begin_shutdown(&self) {
        self.shared.stopping.send_replace(true);
    }

    /// Whether a shutdown has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow()
    }

    /// Waits until a shutdown has begun.
    pub(crate) async fn stopped(&self) {
        // The sender is ours, so this ends in no other way.
        let _ = self.shared.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// An id for a request that brings none.
    pub(crate) fn next_request_id(&self) -> String {
        let count = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        format!("req_{:08x}{count:08x}", self.shared.process)
    }
}
