//! Gates: open, claim, renew, complete, fail, retry. Of all claims of a gate at most one token is current (promise P7);
//! the clock decides only when somebody else may take over.

use alloc::format;
use alloc::sync::Arc;

use super::Halt;
use super::answer::{Answer, ClaimOutcome};
use super::draft::Draft;
use crate::access::ApiScope;
use crate::command::Claim;
use crate::document::Document;
use crate::gate::{Gate, GateId, GatePolicy, GateState, detail, lease_over};
use crate::journal::{Event, EventKind};
use crate::name::{Effect, Reason, Subject, Tenant};
use crate::refusal::{Code, Refusal};
use crate::reservation::Ttl;

impl Draft<'_> {
    pub(super) fn open(
        &mut self,
        tenant: &Tenant,
        effect: &Effect,
        subject: &Subject,
        policy: GatePolicy,
        task: Option<&Document>,
        change: Option<u64>,
    ) -> Result<Answer, Halt> {
        self.access().require_gates(ApiScope::Gate, tenant)?;
        if let Some(task) = task.filter(|task| task.as_str().len() > Gate::TASK_BYTES_MAX) {
            let bytes = task.as_str().len();
            let message = format!("the task has {bytes} bytes; at most {} are kept", Gate::TASK_BYTES_MAX);
            return Err(Refusal::new(Code::DocumentTooLarge, message).at("/task").into());
        }
        let (gate, replayed) = self.open_gate(tenant, effect, subject, policy, task)?;
        match (task, change) {
            (Some(task), Some(known)) if gate.task.as_ref() != Some(task) => self.change_task(&gate, task, known),
            (Some(_) | None, Some(_) | None) => Ok(Answer::Gate { gate, replayed }),
        }
    }

    /// Opens a gate as part of any decision; says whether it was there already, and then leaves it as it is.
    ///
    /// Who may do so is for the caller to ask.
    pub(super) fn open_gate(
        &mut self,
        tenant: &Tenant,
        effect: &Effect,
        subject: &Subject,
        policy: GatePolicy,
        task: Option<&Document>,
    ) -> Result<(Arc<Gate>, bool), Halt> {
        let id = GateId::of(tenant, effect, subject);
        if let Some(gate) = self.gate_if_any(id)? {
            // An id is 80 bits: who looks long enough finds two subjects of one id, and must gain nothing by it.
            if gate.tenant != *tenant || gate.effect != *effect || gate.subject != *subject {
                let message =
                    format!("the gate of this subject would be {id}, which is another's; use another subject");
                return Err(Refusal::new(Code::InvalidSubject, message).at("/subject").into());
            }
            return Ok((gate, true));
        }
        let mut gate = Gate::blank(tenant.clone(), effect.clone(), subject.clone());
        let mut event = self.event(EventKind::Opened);
        event.detail = detail(&policy.to_text());
        event.document = task.map(Document::sha256);
        self.move_gate(&mut gate, event)?;
        gate.task = task.cloned();
        Ok((self.put_gate(gate), false))
    }

    /// Who holds it does what the task says, and who held it may have done it: only who knows of every claim can tell.
    fn change_task(&mut self, gate: &Gate, task: &Document, known: u64) -> Result<Answer, Halt> {
        if gate.state != GateState::Open || gate.token != known {
            let message = match gate.state {
                GateState::Open => format!("gate {} was claimed since; look what came of it", gate.id),
                GateState::Claimed | GateState::Done | GateState::Dead => {
                    format!("gate {} is {}; its task cannot change", gate.id, gate.state.as_str())
                }
            };
            return Err(Refusal::new(Code::GateFixed, message).at("/task").into());
        }
        let mut gate = gate.clone();
        let mut event = self.event(EventKind::Changed);
        event.document = Some(task.sha256());
        self.move_gate(&mut gate, event)?;
        gate.task = Some(task.clone());
        let gate = self.put_gate(gate);
        Ok(Answer::Gate { gate, replayed: false })
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Answer, Halt> {
        self.access().require_gates(ApiScope::Gate, &claim.tenant)?;
        let (gate, _) = self.open_gate(&claim.tenant, &claim.effect, &claim.subject, claim.policy, None)?;
        let outcome = match gate.state {
            GateState::Done => ClaimOutcome::Done,
            GateState::Dead => ClaimOutcome::Dead,
            GateState::Open | GateState::Claimed if gate.is_due(self.now) => return self.win(&gate, claim),
            GateState::Claimed if is_retry_of(claim, &gate) => ClaimOutcome::Won {
                replayed: true,
                took_over: false,
            },
            GateState::Open | GateState::Claimed => ClaimOutcome::Busy {
                retry_after_micros: gate.due_at.as_micros().saturating_sub(self.now.as_micros()),
            },
        };
        Ok(Answer::Claim { gate, outcome })
    }

    /// Takes a gate that is due; a lease that ran out counts as an attempt that failed.
    fn win(&mut self, gate: &Gate, claim: &Claim) -> Result<Answer, Halt> {
        let mut gate = gate.clone();
        let took_over = gate.state == GateState::Claimed;
        if took_over {
            let mut event = self.gate_event(EventKind::Expired, &gate);
            event.reason = Some(lease_over(gate.holder.as_ref()));
            self.move_gate(&mut gate, event)?;
            if self.dies(&mut gate, false)? {
                let gate = self.put_gate(gate);
                let outcome = ClaimOutcome::Dead;
                return Ok(Answer::Claim { gate, outcome });
            }
        }
        let mut event = self.event(EventKind::Claimed);
        event.seq = gate.token.checked_add(1);
        event.seq_last = Some(u64::from(gate.attempts) + 1);
        event.key = claim.key.clone();
        event.expires_at = Some(self.now.plus_seconds(claim.ttl.as_seconds()));
        event.detail = detail(&claim.holder);
        self.move_gate(&mut gate, event)?;
        let outcome = ClaimOutcome::Won {
            replayed: false,
            took_over,
        };
        let gate = self.put_gate(gate);
        Ok(Answer::Claim { gate, outcome })
    }

    pub(super) fn renew(&mut self, id: GateId, token: u64, ttl: Ttl) -> Result<Answer, Halt> {
        let gate = self.gate(id, ApiScope::Gate)?;
        if !gate.is_current(token) {
            return Err(stale(&gate, token));
        }
        let mut gate = (*gate).clone();
        // A renewal that arrives late, or asks for less, takes nothing away.
        gate.due_at = gate.due_at.max(self.now.plus_seconds(ttl.as_seconds()));
        let gate = self.put_gate(gate);
        Ok(Answer::Gate { gate, replayed: false })
    }

    pub(super) fn complete(&mut self, id: GateId, token: u64, result: &Document) -> Result<Answer, Halt> {
        let gate = self.gate(id, ApiScope::Gate)?;
        if gate.state == GateState::Done && gate.token == token && gate.result.as_ref() == Some(result) {
            return Ok(Answer::Gate { gate, replayed: true });
        }
        if !gate.is_current(token) {
            return Err(stale(&gate, token));
        }
        let mut gate = (*gate).clone();
        let mut event = self.gate_event(EventKind::Completed, &gate);
        event.document = Some(result.sha256());
        self.move_gate(&mut gate, event)?;
        gate.result = Some(result.clone());
        let gate = self.put_gate(gate);
        Ok(Answer::Gate { gate, replayed: false })
    }

    pub(super) fn fail(
        &mut self,
        id: GateId,
        token: u64,
        error: &Reason,
        retry_in: Option<Ttl>,
        give_up: bool,
    ) -> Result<Answer, Halt> {
        let gate = self.gate(id, ApiScope::Gate)?;
        // The answer was lost: he failed already, and nobody has come since.
        let is_open_or_dead = matches!(gate.state, GateState::Open | GateState::Dead);
        if is_open_or_dead && gate.token == token && gate.last_error.as_ref() == Some(error) {
            return Ok(Answer::Gate { gate, replayed: true });
        }
        if !gate.is_current(token) {
            return Err(stale(&gate, token));
        }
        let mut gate = (*gate).clone();
        let mut event = self.gate_event(EventKind::Failed, &gate);
        event.reason = Some(error.clone());
        event.expires_at = Some(gate.retry_at(self.now, retry_in));
        self.move_gate(&mut gate, event)?;
        self.dies(&mut gate, give_up)?;
        let gate = self.put_gate(gate);
        Ok(Answer::Gate { gate, replayed: false })
    }

    pub(super) fn retry(&mut self, id: GateId, reason: &Reason) -> Result<Answer, Halt> {
        let gate = self.gate(id, ApiScope::Admin)?;
        if gate.state != GateState::Dead {
            let message = format!(
                "gate {id} is {}, not dead; there is nothing to retry",
                gate.state.as_str()
            );
            return Err(Refusal::new(Code::GateNotDead, message).at("/id").into());
        }
        let mut gate = (*gate).clone();
        let mut event = self.gate_event(EventKind::Retried, &gate);
        event.reason = Some(reason.clone());
        self.move_gate(&mut gate, event)?;
        let gate = self.put_gate(gate);
        Ok(Answer::Gate { gate, replayed: false })
    }

    /// Ends a gate that was tried as often as it may, or that its holder gives up; whether it did.
    fn dies(&mut self, gate: &mut Gate, give_up: bool) -> Result<bool, Halt> {
        if !give_up && gate.attempts < gate.policy.attempts_max() {
            return Ok(false);
        }
        let event = self.gate_event(EventKind::Died, gate);
        self.move_gate(gate, event)?;
        Ok(true)
    }

    fn gate_event(&self, kind: EventKind, gate: &Gate) -> Event {
        let mut event = self.event(kind);
        event.seq = Some(gate.token);
        event
    }

    /// The gate, if the caller may see it: another tenant's id does not exist for him.
    fn gate(&self, id: GateId, scope: ApiScope) -> Result<Arc<Gate>, Halt> {
        self.access().require(scope)?;
        let unknown = || Halt::from(Refusal::new(Code::UnknownGate, format!("there is no gate {id}")).at("/id"));
        let gate = self.gate_if_any(id)?.ok_or_else(unknown)?;
        match self.access().require_gates(scope, &gate.tenant) {
            Ok(()) => Ok(gate),
            Err(_) => Err(unknown()),
        }
    }
}

/// Whether a claim is sent again by the one who holds the gate.
fn is_retry_of(claim: &Claim, gate: &Gate) -> bool {
    claim.key.is_some() && claim.key == gate.key && gate.holder.as_ref() == Some(&claim.holder)
}

fn stale(gate: &Gate, token: u64) -> Halt {
    let what = match gate.state {
        GateState::Done => "the gate is done, and its result stays".into(),
        GateState::Dead => "the gate is dead".into(),
        GateState::Open => "nobody holds the gate now; claim it again".into(),
        GateState::Claimed => format!("the current one is {}", gate.token),
    };
    let message = format!(
        "token {token} of gate {} changes nothing: {what}; stop, and undo what can be undone",
        gate.id
    );
    Refusal::new(Code::StaleToken, message).at("/token").into()
}
