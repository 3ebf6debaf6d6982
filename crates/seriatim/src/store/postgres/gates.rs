//! Gates as rows: how they are written, found, and listed.

use std::sync::Arc;

use seriatim_core::{
    ChainHead, Changes, Document, Effect, Event, Gate, GateId, GatePolicy, GateState, Hash, Holder, Key, Reason,
    Subject, Tenant, Timestamp,
};
use tokio_postgres::Row;

use super::Inner;
use super::connection::Command;
use super::fault::Fault;
use super::params::values;
use super::persist::{column, integers, integers_if_any, micros};
use super::reads::rows_max;
use super::rows::Columns;
use crate::store::{GateFilter, GateHead, Page};

pub(super) const LOAD_GATES: &str = include_str!("queries/load_gates.sql");
pub(super) const LIST_GATE_HEADS: &str = include_str!("queries/list_gate_heads.sql");
const PUT_GATES: &str = include_str!("queries/put_gates.sql");
const INSERT_GATE_EVENTS: &str = include_str!("queries/insert_gate_events.sql");
const PAGE_GATES: &str = include_str!("queries/page_gates.sql");
const PAGE_GATES_NOT_DONE: &str = include_str!("queries/page_gates_not_done.sql");
const LIST_DUE_GATES: &str = include_str!("queries/list_due_gates.sql");
const LIST_GATES_BY_ID: &str = include_str!("queries/list_gates_by_id.sql");

/// The statements that write gates and then their events.
pub(super) fn write<'c>(
    changes: &'c Changes,
    events: &[(GateId, &'c Event)],
    commands: &mut Vec<Command<'c>>,
) -> Result<(), Fault> {
    // By id, as everybody writes them.
    let gates: Vec<&Gate> = changes.gates.values().map(|gate| &**gate).collect();
    if !gates.is_empty() {
        let row = values![
            column(&gates, |gate| gate.id.to_string()),
            column(&gates, |gate| gate.tenant.as_str()),
            column(&gates, |gate| gate.effect.as_str()),
            column(&gates, |gate| gate.subject.as_str()),
            column(&gates, |gate| gate.state.as_str()),
            integers(&gates, |gate| gate.token)?,
            column(&gates, |gate| i64::from(gate.attempts)),
            column(&gates, |gate| gate.policy.to_text()),
            column(&gates, |gate| gate.due_at.as_micros()),
            column(&gates, |gate| gate.holder.as_deref()),
            column(&gates, |gate| gate.key.as_deref()),
            column(&gates, |gate| gate.task.as_ref().map(Document::as_str)),
            column(&gates, |gate| gate.result.as_ref().map(Document::as_str)),
            column(&gates, |gate| gate.last_error.as_deref()),
            column(&gates, |gate| gate.opened_at.as_micros()),
            integers(&gates, |gate| gate.chain.length)?,
            column(&gates, |gate| &gate.chain.head.as_bytes()[..]),
        ];
        commands.push(Command::Query(PUT_GATES, row));
    }
    if !events.is_empty() {
        let row = values![
            column(events, |(id, _)| id.to_string()),
            integers(events, |(_, event)| event.position)?,
            column(events, |(_, event)| event.kind.as_str()),
            integers_if_any(events, |(_, event)| event.seq)?,
            integers_if_any(events, |(_, event)| event.seq_last)?,
            column(events, |(_, event)| event.key.as_deref()),
            column(events, |(_, event)| micros(event.expires_at)),
            column(events, |(_, event)| event.reason.as_deref()),
            column(events, |(_, event)| event
                .document
                .as_ref()
                .map(|hash| &hash.as_bytes()[..])),
            column(events, |(_, event)| event.actor.as_str()),
            column(events, |(_, event)| event.on_behalf_of.as_deref()),
            column(events, |(_, event)| event.at.as_micros()),
            column(events, |(_, event)| event.detail.as_deref()),
            column(events, |(_, event)| &Hash::as_bytes(&event.hash)[..]),
        ];
        commands.push(Command::Query(INSERT_GATE_EVENTS, row));
    }
    Ok(())
}

impl Inner {
    pub(super) async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, Fault> {
        let rows = self.read(LOAD_GATES, values![vec![id.to_string()]]).await?;
        Ok(rows.first().map(gate).transpose()?.map(|(_, gate)| gate))
    }

    pub(super) async fn gates_page(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, Fault> {
        let before = filter
            .cursor
            .map_or(i64::MAX, |no| i64::try_from(no).unwrap_or(i64::MAX));
        let some = |wanted: Vec<&'static str>| (!wanted.is_empty()).then_some(wanted);
        let may_be_done = filter.states.is_empty() || filter.states.contains(&GateState::Done);
        let sql = if may_be_done { PAGE_GATES } else { PAGE_GATES_NOT_DONE };
        let row = values![
            before,
            some(filter.states.iter().map(|state| state.as_str()).collect()),
            effect_texts(&filter.effects),
            super::search::tenant_texts(&filter.tenants),
            // One more than asked for tells whether there is a next page.
            rows_max(limit.saturating_add(1)),
        ];
        let found = self.read(sql, row).await?;
        let more = found.len() > limit;
        let found: Vec<(u64, Arc<Gate>)> = found.iter().take(limit).map(gate).collect::<Result<_, _>>()?;
        let next = found.last().filter(|_| more).map(|(no, _)| *no);
        let rows = found.into_iter().map(|(_, gate)| gate).collect();
        Ok(Page { rows, next })
    }

    pub(super) async fn due_gates(
        &self,
        effects: &[Effect],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Arc<Gate>>, Fault> {
        let row = values![now.as_micros(), effect_texts(effects), rows_max(limit)];
        gates(&self.read(LIST_DUE_GATES, row).await?)
    }

    pub(super) async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, Fault> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        gates(&self.read(LIST_GATES_BY_ID, values![after, rows_max(limit)]).await?)
    }
}

fn effect_texts(effects: &[Effect]) -> Option<Vec<&str>> {
    (!effects.is_empty()).then(|| effects.iter().map(|effect| effect.as_str()).collect())
}

fn gates(rows: &[Row]) -> Result<Vec<Arc<Gate>>, Fault> {
    rows.iter().map(|row| Ok(gate(row)?.1)).collect()
}

pub(super) fn head(row: &Row) -> Result<GateHead, Fault> {
    let mut columns = Columns::new("gate", row);
    Ok(GateHead {
        id: columns.parsed(str::parse)?,
        label: [columns.text()?, columns.text()?, columns.text()?].join(" "),
        chain: ChainHead {
            length: columns.natural()?,
            head: columns.hash()?,
        },
    })
}

/// The gate with the number that its chain goes by.
pub(super) fn gate(row: &Row) -> Result<(u64, Arc<Gate>), Fault> {
    let mut columns = Columns::new("gate", row);
    let no = columns.natural()?;
    let gate = Gate {
        id: columns.parsed(str::parse)?,
        tenant: columns.parsed(Tenant::parse)?,
        effect: columns.parsed(Effect::parse)?,
        subject: columns.parsed(Subject::parse)?,
        state: columns.word(GateState::parse)?,
        token: columns.natural()?,
        attempts: u32::try_from(columns.natural()?).map_err(|_| Fault::damage("a gate has too many attempts"))?,
        policy: columns.word(GatePolicy::from_text)?,
        due_at: columns.time()?,
        holder: columns.parsed_if_any(Holder::parse)?,
        key: columns.parsed_if_any(Key::parse)?,
        task: columns.text_if_any()?.map(Document::stored),
        result: columns.text_if_any()?.map(Document::stored),
        last_error: columns.parsed_if_any(Reason::parse)?,
        opened_at: columns.time()?,
        chain: ChainHead {
            length: columns.natural()?,
            head: columns.hash()?,
        },
    };
    Ok((no, Arc::new(gate)))
}
