//! Which of several documents with one number the service has recorded it for.

use std::collections::HashSet;

use super::super::failed::Failed;
use super::super::output::{list, text};
use super::super::session::Session;
use super::source::spool_failed;
use super::spool::Reader;
use super::survey::{Look, Survey};
use crate::transport::{Call, query};

/// Reads all rows. Of several with one number the one whose key is recorded keeps it: a repeated import must not choose
/// another document than the first one did, or than the old code that adopted.
pub async fn survey(session: &Session, look: &Look<'_>, reader: &mut Reader) -> Result<Survey, Failed> {
    let survey = Survey::read(look, reader).map_err(spool_failed)?;
    let mut recorded = HashSet::new();
    for place in survey.contested() {
        let row = reader.at(place.at).map_err(spool_failed)?;
        if let Some(key) = &row.key
            && is_recorded(session, look, row.tenant(), &row.number, key).await?
        {
            recorded.insert(place.at);
        }
    }
    survey.settle(look, reader, &recorded).map_err(spool_failed)
}

async fn is_recorded(
    session: &Session,
    look: &Look<'_>,
    tenant: &str,
    number: &str,
    key: &str,
) -> Result<bool, Failed> {
    let wanted = [
        ("series", Some(look.series.name.as_str())),
        ("tenant", Some(tenant)),
        ("number", Some(number)),
    ];
    let at = format!("/v1/entries{}", query(&wanted));
    let answer = session.answer(Call::get(at)).await?;
    Ok(list(&answer.json, "data").iter().any(|entry| text(entry, "key") == key))
}
