//! Measures, and proves what it measured: no number twice, none left out, no key with two numbers.

mod proof;
mod target;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use super::failed::Failed;
use super::output::Form;
use super::progress;
use proof::{Answers, Proof};
use target::{Client, Target};

/// Measure, and prove that no number comes twice and none is left out
#[derive(Args)]
pub struct Bench {
    /// How many ask at the same time
    #[arg(long, default_value_t = 100, value_name = "N")]
    clients: u32,
    /// How many numbers are asked for
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    requests: u64,
    /// How often each request is sent with its key
    #[arg(long, default_value_t = 3, value_name = "N")]
    retry_each: u32,
    /// Where the throw-away store is made [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use the store that is configured, in a test series of its own, instead of a throw-away one
    #[arg(long, conflicts_with = "dir")]
    in_data_dir: bool,
}

/// Comes when somebody wants it to end.
fn interrupted() -> Result<impl Future<Output = Failed>, Failed> {
    let listen = |kind| signal(kind).map_err(|error| Failed::Other(format!("cannot wait for signals: {error}")));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Failed::Other("interrupted; what was made for the bench is removed".to_string())
    })
}

impl Bench {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        if self.clients == 0 || self.requests == 0 || self.retry_each == 0 {
            return Err(Failed::Usage(
                "clients, requests and retry-each are at least 1".to_string(),
            ));
        }
        // Before anything is made that must be removed again.
        let interrupted = interrupted()?;
        let is_remote = context.config.get("server").is_some();
        let target = if is_remote || self.in_data_dir {
            Target::configured(context).await?
        } else {
            Target::throw_away(context, self.dir.clone()).await?
        };
        let judged = tokio::select! {
            judged = self.judge(context, &target) => judged,
            failed = interrupted => Err(failed),
        };
        target.close().await;
        let (proof, run) = judged?;
        self.print(context, &run, &proof);
        if proof.holds() {
            Ok(())
        } else {
            Err(Failed::Found("the promise does not hold".to_string()))
        }
    }

    async fn judge(&self, context: &Context, target: &Target) -> Result<(Proof, Run), Failed> {
        let run = self.measure(context, target).await?;
        let stored = target.stored().await?;
        Ok((Proof::of(&run.answers, &stored), run))
    }

    /// Every request in all its repetitions, from many clients; the repetitions of one come from several of them.
    async fn measure(&self, context: &Context, target: &Target) -> Result<Run, Failed> {
        let total = self.requests * u64::from(self.retry_each);
        let bar = progress::bar(context, total);
        let work = Arc::new(Work {
            next: AtomicU64::new(0),
            total,
            times: u64::from(self.retry_each),
            label: format!("{:016x}", rand::random::<u64>()),
            bar: bar.clone(),
            done: Mutex::new(Done::new()?),
        });
        let started = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..self.clients {
            let (work, client) = (work.clone(), target.client()?);
            clients.spawn(async move { work.share(client).await });
        }
        while let Some(ended) = clients.join_next().await {
            ended.map_err(|error| Failed::Other(format!("a client ended early: {error}")))??;
        }
        let took = started.elapsed();
        bar.finish_and_clear();
        let mut done = work.done.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Run {
            took,
            times: done.times.clone(),
            answers: std::mem::take(&mut done.answers),
        })
    }

    fn print(&self, context: &Context, run: &Run, proof: &Proof) {
        let at = |quantile: f64| run.times.value_at_quantile(quantile);
        let sent = run.times.len();
        let numbers_per_second = proof.numbers as f64 / run.took.as_secs_f64();
        let answers_per_second = sent as f64 / run.took.as_secs_f64();
        if context.output.form == Form::Json {
            let report = json!({
                "clients": self.clients, "sent": sent, "numbers": proof.numbers, "replays": proof.replays,
                "seconds": run.took.as_secs_f64(), "numbers_per_second": numbers_per_second,
                "answers_per_second": answers_per_second,
                "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999),
                "duplicates": proof.duplicates, "holes": proof.holes, "keys_with_two_numbers": proof.split_keys,
                "lost": proof.lost, "holds": proof.holds(),
            });
            return context.output.line(report.to_string());
        }
        let ms = |quantile| format!("{:.2} ms", at(quantile) as f64 / 1_000.0);
        let verdict = if proof.holds() { "PASS" } else { "FAIL" };
        context.output.card(vec![
            (
                "numbers",
                format!(
                    "{} in {:.2?}, {numbers_per_second:.0} a second",
                    proof.numbers, run.took
                ),
            ),
            (
                "answers",
                format!("{sent} to {} clients, {answers_per_second:.0} a second", self.clients),
            ),
            ("replays", proof.replays.to_string()),
            ("p50", ms(0.5)),
            ("p99", ms(0.99)),
            ("p999", ms(0.999)),
            ("duplicates", proof.duplicates.to_string()),
            ("holes", proof.holes.to_string()),
            ("keys with two numbers", proof.split_keys.to_string()),
            ("acknowledged and not stored", proof.lost.to_string()),
            ("verdict", verdict.to_string()),
        ]);
    }
}

/// What was measured.
struct Run {
    took: Duration,
    /// Microseconds from request to answer.
    times: Histogram<u64>,
    answers: Answers,
}

/// What the clients share.
struct Work {
    next: AtomicU64,
    total: u64,
    /// How often each request is sent.
    times: u64,
    label: String,
    bar: ProgressBar,
    done: Mutex<Done>,
}

struct Done {
    times: Histogram<u64>,
    answers: Answers,
}

impl Done {
    fn new() -> Result<Self, Failed> {
        // Up to two minutes in microseconds, to three digits.
        let times = Histogram::new_with_bounds(1, 120_000_000, 3);
        Ok(Self {
            times: times.map_err(|error| Failed::Other(error.to_string()))?,
            answers: Answers::default(),
        })
    }
}

impl Work {
    /// What one client does.
    async fn share(&self, client: Client) -> Result<(), Failed> {
        let mut mine = Done::new()?;
        loop {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            if turn >= self.total {
                break;
            }
            // Several clients send the same request at about the same time, as impatient callers do.
            let key = format!("bench_{}_{}", self.label, turn / self.times);
            let asked = Instant::now();
            let (number, replayed) = client.issue(&key).await?;
            let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
            mine.times.saturating_record(micros);
            mine.answers.push(key, number, replayed);
            self.bar.inc(1);
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.times
            .add(&mine.times)
            .map_err(|error| Failed::Other(error.to_string()))?;
        done.answers.extend(mine.answers);
        Ok(())
    }
}
