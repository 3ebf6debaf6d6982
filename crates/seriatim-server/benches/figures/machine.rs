//! What this was measured on.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Cores, processor, memory, kernel.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_string())
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "machine: {cores} cores, {}, {} of memory, Linux {}",
        field(&read("/proc/cpuinfo"), "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        kernel.trim()
    )
}

/// How often this disk can be flushed in a second: the yardstick of everything durable.
pub fn fdatasync_rate(folder: &Path) -> Result<f64> {
    let path = folder.join("flush");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = [7u8; 4096];
    let started = Instant::now();
    let mut flushes = 0u32;
    while started.elapsed() < Duration::from_secs(2) {
        file.write_at(&block, u64::from(flushes % 1_000) * 4_096)?;
        file.sync_data()?;
        flushes += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(flushes) / started.elapsed().as_secs_f64())
}

/// The most memory a process has held, in MB.
pub fn peak_memory_mb(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(f64::NAN);
    kb / 1024.0
}

/// Whether a figure holds, for the reader's eye.
pub fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}

/// The middle one; sorts them.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
