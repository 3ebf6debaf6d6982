//! Definitions read so far: reading one takes long, and every batch needs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use seriatim_core::{Series, SeriesName};
use tokio_postgres::Row;

use super::fault::Fault;
use super::rows;

#[derive(Default)]
pub(super) struct Definitions(Mutex<HashMap<SeriesName, Remembered>>);

struct Remembered {
    definition: String,
    series: Arc<Series>,
}

impl Definitions {
    pub(super) fn series(&self, row: &Row) -> Result<Arc<Series>, Fault> {
        let (name, version, definition) = rows::definition(row)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&name)
            && known.series.version == version
            && known.definition == definition
        {
            return Ok(known.series.clone());
        }
        let series = Arc::new(rows::series(&name, version, definition)?);
        let remembered = Remembered {
            definition: definition.to_string(),
            series: series.clone(),
        };
        known.insert(name, remembered);
        Ok(series)
    }
}
