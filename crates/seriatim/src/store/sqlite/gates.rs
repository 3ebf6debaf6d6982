//! Gates as rows: how one is written, found, and listed.

use std::sync::Arc;

use rusqlite::{Row, named_params, params};
use seriatim_core::{
    ChainHead, Document, Effect, Gate, GateId, GatePolicy, GateState, Holder, Key, Reason, Subject, Tenant, Timestamp,
};

use super::fault::Fault;
use super::reads::{json, rows_max};
use super::rows::{Columns, integer};
use super::session::Session;
use crate::store::{GateFilter, GateHead, Page};

const PUT_GATE: &str = include_str!("queries/put_gate.sql");
const FIND_GATE: &str = include_str!("queries/find_gate.sql");
const PAGE_GATES: &str = include_str!("queries/page_gates.sql");
const PAGE_GATES_NOT_DONE: &str = include_str!("queries/page_gates_not_done.sql");
const LIST_DUE_GATES: &str = include_str!("queries/list_due_gates.sql");
const LIST_GATES_BY_ID: &str = include_str!("queries/list_gates_by_id.sql");
const LIST_GATE_HEADS: &str = include_str!("queries/list_gate_heads.sql");

impl Session {
    /// Writes a gate; says which number its chain goes by.
    pub(super) fn put_gate(&self, gate: &Gate) -> Result<i64, Fault> {
        let row = params![
            gate.id.as_bytes(),
            gate.tenant.as_str(),
            gate.effect.as_str(),
            gate.subject.as_str(),
            gate.state.as_str(),
            integer(gate.token)?,
            gate.attempts,
            gate.policy.to_text(),
            gate.due_at.as_micros(),
            gate.holder.as_deref(),
            gate.key.as_deref(),
            gate.task.as_ref().map(Document::as_str),
            gate.result.as_ref().map(Document::as_str),
            gate.last_error.as_deref(),
            gate.opened_at.as_micros(),
            integer(gate.chain.length)?,
            gate.chain.head.as_bytes(),
        ];
        let no = self.find(PUT_GATE, row, |row| Columns::new("gate", row).integer())?;
        no.ok_or_else(|| Fault::damage(format!("gate {} gets no number", gate.id)))
    }

    /// The gate with the number that its chain goes by.
    pub(super) fn numbered_gate(&self, id: GateId) -> Result<Option<(u64, Arc<Gate>)>, Fault> {
        self.find(FIND_GATE, [id.as_bytes()], gate)
    }

    pub(super) fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, Fault> {
        Ok(self.numbered_gate(id)?.map(|(_, gate)| gate))
    }

    pub(super) fn gates_page(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, Fault> {
        let before = filter
            .cursor
            .map_or(i64::MAX, |no| i64::try_from(no).unwrap_or(i64::MAX));
        let some = |wanted: Vec<&str>| (!wanted.is_empty()).then(|| json(wanted.into_iter()));
        let may_be_done = filter.states.is_empty() || filter.states.contains(&GateState::Done);
        let sql = if may_be_done { PAGE_GATES } else { PAGE_GATES_NOT_DONE };
        let params = named_params! {
            ":before": before,
            ":states": some(filter.states.iter().map(|state| state.as_str()).collect()),
            ":effects": some(filter.effects.iter().map(|effect| effect.as_str()).collect()),
            ":tenants": some(filter.tenants.iter().map(|tenant| tenant.as_str()).collect()),
            ":limit": rows_max(limit.saturating_add(1)),
        };
        let mut found = self.list(sql, params, gate)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(no, _)| *no);
        let rows = found.into_iter().map(|(_, gate)| gate).collect();
        Ok(Page { rows, next })
    }

    pub(super) fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, Fault> {
        let effects = (!effects.is_empty()).then(|| json(effects.iter().map(|effect| effect.as_str())));
        let params = params![now.as_micros(), effects, rows_max(limit)];
        self.list(LIST_DUE_GATES, params, |row| Ok(gate(row)?.1))
    }

    pub(super) fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, Fault> {
        // An empty blob comes before every id.
        let after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
        self.list(
            LIST_GATES_BY_ID,
            params![after, rows_max(limit)],
            |row| Ok(gate(row)?.1),
        )
    }

    pub(super) fn gate_heads(&self) -> Result<Vec<GateHead>, Fault> {
        self.list(LIST_GATE_HEADS, [], |row| {
            let mut columns = Columns::new("gate", row);
            Ok(GateHead {
                id: columns.gate_id()?,
                label: [columns.text()?, columns.text()?, columns.text()?].join(" "),
                chain: ChainHead {
                    length: columns.natural()?,
                    head: columns.hash()?,
                },
            })
        })
    }
}

fn gate(row: &Row<'_>) -> Result<(u64, Arc<Gate>), Fault> {
    let mut columns = Columns::new("gate", row);
    let no = columns.natural()?;
    let gate = Gate {
        id: columns.gate_id()?,
        tenant: columns.parsed(Tenant::parse)?,
        effect: columns.parsed(Effect::parse)?,
        subject: columns.parsed(Subject::parse)?,
        state: columns.word(GateState::parse)?,
        token: columns.natural()?,
        attempts: columns.small()?,
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
