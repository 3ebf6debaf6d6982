//! Rates that were taken by turns, and what they are held against.

use hdrhistogram::Histogram;

/// One run.
pub struct Measured {
    pub rate: f64,
    /// In microseconds.
    pub took: Histogram<u64>,
}

/// Runs of one thing, by turns with the others, so that a noisy moment touches all.
pub struct Figure {
    name: String,
    runs: Vec<Measured>,
}

impl Figure {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            runs: Vec::new(),
        }
    }

    pub fn add(&mut self, run: Measured) {
        self.runs.push(run);
    }

    /// The median.
    pub fn rate(&self) -> f64 {
        let mut rates: Vec<f64> = self.runs.iter().map(|run| run.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Name, rate and percentiles, as a line of a table.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    pub fn line(&self) -> String {
        let mut took = Histogram::<u64>::new(3).expect("three digits are fine");
        for run in &self.runs {
            took.add(&run.took).expect("histograms of one kind can be added");
        }
        let at = |quantile: f64| took.value_at_quantile(quantile) as f64 / 1_000.0;
        format!(
            "  {:<58} {:>7.0} a second   p50 {:>6.2}  p99 {:>7.2}  p99.9 {:>7.2} ms",
            self.name,
            self.rate(),
            at(0.5),
            at(0.99),
            at(0.999)
        )
    }
}
