//! A disk of its own, as small as a test wants it.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::path::Path;

use tempfile::TempDir;

/// A small file system of its own; gone when dropped.
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// Nothing if the environment says that mounts are not possible here.
    pub fn mount(size: &str) -> Option<Self> {
        if std::env::var_os("SERIATIM_TEST_NO_MOUNT").is_some_and(|value| value == "1") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let disk = Self { directory };
        let options = format!("size={size}");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], disk.path());
        Some(disk)
    }

    pub fn remount(&self, mode: &str) {
        mount(&["-o", &format!("remount,{mode}")], self.path());
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Leaves so many bytes free.
    pub fn fill(&self, free: usize) {
        use std::io::Write;
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = [1u8; 4096];
        let mut size = 0u64;
        while file.write_all(&block).is_ok() {
            size += 4096;
        }
        file.set_len(size.saturating_sub(free as u64)).unwrap();
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for a store may still be open.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let done = std::process::Command::new("mount")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "cannot mount; run as root, or set SERIATIM_TEST_NO_MOUNT=1 to leave these tests out: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
