//! Receipts on disk: written once, whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use seriatim_receipt::{Files, FilesError};

#[path = "../../seriatim/tests/disk/mod.rs"]
mod disk;

use disk::Disk;

const PDF: &[u8] = b"%PDF-1.7 one";

#[test]
fn a_file_is_kept_under_gate_and_token_and_read_back() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path().join("receipts")).unwrap();
    let kept = files.keep("gat_1f", 7, PDF).unwrap();
    assert_eq!(kept.path, "gat_1f/7.pdf");
    assert_eq!(
        kept.sha256,
        "e6d49ab2abf82176003da667a50ba1d708796b091f2957400c19699badfb6a20"
    );
    assert_eq!(files.read(&kept).unwrap(), PDF);
    let path = place.path().join("receipts/gat_1f/7.pdf");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_second_writer_of_a_name_is_told_and_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path()).unwrap();
    let kept = files.keep("gat_1f", 7, PDF).unwrap();
    let error = files.keep("gat_1f", 7, b"%PDF-1.7 two").unwrap_err();
    assert!(
        matches!(&error, FilesError::Taken { path, .. } if path == "gat_1f/7.pdf"),
        "{error}"
    );
    assert_eq!(files.read(&kept).unwrap(), PDF);
    files.keep("gat_1f", 8, b"%PDF-1.7 two").unwrap();
}

#[test]
fn of_many_writers_of_one_name_one_wins_and_all_others_are_told() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path()).unwrap();
    for round in 0..20 {
        let results: Vec<_> = std::thread::scope(|scope| {
            let write = |writer: u8| {
                let files = &files;
                scope.spawn(move || files.keep("gat_1f", round, &vec![writer; 100_000]))
            };
            let writers: Vec<_> = (0..8).map(write).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        let bytes = files.read(won[0]).unwrap();
        assert!(
            bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == bytes[0]),
            "one writer's bytes, whole"
        );
        let told = results
            .iter()
            .filter(|result| matches!(result, Err(FilesError::Taken { .. })));
        assert_eq!(told.count(), 7);
    }
    assert_eq!(
        fs::read_dir(place.path().join("gat_1f")).unwrap().count(),
        20,
        "no temporary file is left"
    );
}

#[test]
fn a_name_that_is_no_gate_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path()).unwrap();
    let long = "a".repeat(65);
    for gate in ["", "..", "a/b", "/etc", "Gat", "gat-1", "gat\0", "gät", "a.pdf", &long] {
        let error = files.keep(gate, 1, PDF).unwrap_err();
        assert!(matches!(error, FilesError::Name(_)), "{gate}: {error}");
    }
    for path in [
        "../1.pdf",
        "gat/../1.pdf",
        "gat/01.pdf",
        "gat/1.pdf/",
        "gat/.1-2-3.tmp",
        "gat/x.pdf",
    ] {
        let kept = seriatim_receipt::Kept {
            path: path.to_string(),
            sha256: String::new(),
        };
        assert!(matches!(files.read(&kept), Err(FilesError::Name(_))), "{path}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_changed_file_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path()).unwrap();
    let kept = files.keep("gat_1f", 7, PDF).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(place.path().join(&kept.path))
        .unwrap();
    file.write_all_at(b"X", 9).unwrap();
    assert!(matches!(files.read(&kept), Err(FilesError::Changed { .. })));
}

#[test]
fn a_sweep_takes_what_is_old_and_not_referenced_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let files = Files::open(place.path()).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let age = |path: &str| {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(place.path().join(path))
            .unwrap();
        file.set_modified(old).unwrap();
    };
    let referenced = files.keep("gat_a", 1, PDF).unwrap().path;
    let late_winner = files.keep("gat_a", 2, PDF).unwrap().path;
    files.keep("gat_b", 1, PDF).unwrap();
    fs::write(place.path().join("gat_b/.9-1-0.tmp"), PDF).unwrap();
    fs::write(place.path().join("gat_b/notes.txt"), PDF).unwrap();
    for path in [&referenced, &late_winner, "gat_b/.9-1-0.tmp", "gat_b/notes.txt"] {
        age(path);
    }
    let gone = files
        .sweep(&BTreeSet::from([referenced.clone()]), old + Duration::from_secs(60))
        .unwrap();
    assert_eq!(gone, [late_winner.as_str(), "gat_b/.9-1-0.tmp"]);
    for path in [referenced.as_str(), "gat_b/1.pdf", "gat_b/notes.txt"] {
        assert!(place.path().join(path).exists(), "{path}");
    }
}

#[test]
fn a_full_directory_is_an_error_that_names_it_and_leaves_nothing() {
    let Some(disk) = Disk::mount("1m") else { return };
    let files = Files::open(disk.path()).unwrap();
    disk.fill(8192);
    let error = files.keep("gat_1f", 7, &vec![b'x'; 100_000]).unwrap_err().to_string();
    let place = disk.path().display().to_string();
    assert!(error.contains(&place) && error.contains("No space left"), "{error}");
    let left = fs::read_dir(disk.path().join("gat_1f")).map_or(0, |files| files.count());
    assert_eq!(left, 0, "no half a file");
    disk.empty();
    files.keep("gat_1f", 7, PDF).unwrap();
}

#[test]
fn a_read_only_directory_is_an_error_that_names_it() {
    let Some(disk) = Disk::mount("1m") else { return };
    let files = Files::open(disk.path()).unwrap();
    disk.remount("ro");
    let place = disk.path().display().to_string();
    let kept = files.keep("gat_1f", 7, PDF).unwrap_err().to_string();
    let opened = Files::open(disk.path()).unwrap_err().to_string();
    for error in [kept, opened] {
        assert!(error.contains(&place) && error.contains("Read-only"), "{error}");
    }
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Files::open(file.path()), Err(FilesError::Io { .. })));
}
