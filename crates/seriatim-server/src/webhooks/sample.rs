//! Bodies as each provider sends them, for trying a source out. They hold what is read here and a little of what
//! surrounds it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use seriatim_core::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Money, PaymentReference, Pointers, Scheme};

/// What a body is made for.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// The provider's name of the event.
    pub event: &'a str,
    /// Which payment.
    pub payment: &'a PaymentReference,
    /// How much.
    pub money: &'a Money,
    /// When it was paid.
    pub at: Timestamp,
}

/// Why a body cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The event is none that is known how to build.
    #[error("{scheme} has no event `{event}` that can be built; there are {known}")]
    Event {
        /// The scheme.
        scheme: Scheme,
        /// What was asked for.
        event: String,
        /// What there is.
        known: String,
    },
    /// The provider knows rupees only.
    #[error("{0} pays in INR only")]
    Currency(Scheme),
    /// The pointers of the source contradict one another.
    #[error("the pointer {0} leads through a field that holds a value already")]
    Pointer(String),
}

impl Sample<'_> {
    /// The event's id: the same event again is the same delivery again, as with a provider that retries.
    #[must_use]
    pub fn event_id(&self, scheme: Scheme) -> String {
        let named = format!("{scheme}\n{}\n{}", self.event, self.payment);
        let hash = hex::encode(Sha256::digest(named));
        match scheme {
            Scheme::Razorpay => hash[..14].to_string(),
            Scheme::Standard => format!("msg_{}", &hash[..27]),
            _ => format!("evt_{}", &hash[..24]),
        }
    }

    /// The body as the provider would send it.
    ///
    /// # Errors
    /// The event or currency is none of the provider's.
    pub fn body(&self, scheme: Scheme, pointers: &Pointers) -> Result<Vec<u8>, SampleError> {
        let is_phonepe = matches!(
            scheme,
            Scheme::PhonepeXVerify | Scheme::PhonepeAuthorization | Scheme::PhonepeHmac
        );
        if is_phonepe && self.money.currency != "INR" {
            return Err(SampleError::Currency(scheme));
        }
        let body = match scheme {
            Scheme::PhonepeXVerify => self.callback()?,
            Scheme::PhonepeAuthorization | Scheme::PhonepeHmac => self.phonepe(scheme)?,
            Scheme::Razorpay => self.razorpay()?,
            Scheme::Stripe => self.stripe()?,
            Scheme::Standard => self.standard(pointers)?,
        };
        Ok(body.to_string().into_bytes())
    }

    fn seconds(&self) -> i64 {
        self.at.as_micros().div_euclid(1_000_000)
    }

    fn one_of<T: Copy>(&self, scheme: Scheme, known: &[(&str, T)]) -> Result<T, SampleError> {
        let found = known.iter().find(|(name, _)| *name == self.event);
        found.map(|(_, value)| *value).ok_or_else(|| SampleError::Event {
            scheme,
            event: self.event.to_string(),
            known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        })
    }

    fn callback(&self) -> Result<Value, SampleError> {
        let known = [
            ("PAYMENT_SUCCESS", "COMPLETED"),
            ("PAYMENT_PENDING", "PENDING"),
            ("PAYMENT_ERROR", "FAILED"),
        ];
        let state = self.one_of(Scheme::PhonepeXVerify, &known)?;
        let event = json!({
            "success": state == "COMPLETED",
            "code": self.event,
            "message": "",
            "data": {
                "merchantId": "SERIATIMTEST",
                "merchantTransactionId": self.payment.as_str(),
                "amount": self.money.minor,
                "state": state,
                "paymentInstrument": { "type": "UPI" },
            },
        });
        Ok(json!({ "response": STANDARD.encode(event.to_string()) }))
    }

    fn phonepe(&self, scheme: Scheme) -> Result<Value, SampleError> {
        let known = [
            ("checkout.order.completed", "COMPLETED"),
            ("checkout.order.failed", "FAILED"),
            ("pg.refund.completed", "COMPLETED"),
        ];
        let state = self.one_of(scheme, &known)?;
        let name = if self.event.starts_with("pg.refund") {
            "originalMerchantOrderId"
        } else {
            "merchantOrderId"
        };
        Ok(json!({
            "event": self.event,
            "payload": {
                "merchantId": "SERIATIMTEST",
                name: self.payment.as_str(),
                "state": state,
                "amount": self.money.minor,
                "paymentDetails": [{
                    "paymentMode": "UPI_INTENT",
                    "timestamp": self.seconds().saturating_mul(1000),
                    "amount": self.money.minor,
                    "state": state,
                }],
            },
        }))
    }

    fn razorpay(&self) -> Result<Value, SampleError> {
        let known = [
            ("payment.captured", "captured"),
            ("payment.authorized", "authorized"),
            ("payment.failed", "failed"),
            ("order.paid", "captured"),
            ("refund.processed", "refunded"),
        ];
        let status = self.one_of(Scheme::Razorpay, &known)?;
        let mut payload = json!({ "payment": { "entity": {
            "id": self.payment.as_str(),
            "entity": "payment",
            "amount": self.money.minor,
            "currency": self.money.currency,
            "status": status,
            "captured": status == "captured",
            "created_at": self.seconds(),
        }}});
        if self.event == "refund.processed" {
            payload["refund"] = json!({ "entity": {
                "entity": "refund",
                "payment_id": self.payment.as_str(),
                "amount": self.money.minor,
                "currency": self.money.currency,
                "created_at": self.seconds(),
            }});
        }
        Ok(json!({
            "entity": "event",
            "event": self.event,
            "payload": payload,
            "created_at": self.seconds(),
        }))
    }

    fn stripe(&self) -> Result<Value, SampleError> {
        let known = [
            ("payment_intent.succeeded", ("payment_intent", "amount_received")),
            (
                "payment_intent.amount_capturable_updated",
                ("payment_intent", "amount_capturable"),
            ),
            ("payment_intent.payment_failed", ("payment_intent", "amount")),
            ("charge.succeeded", ("charge", "amount_captured")),
            ("charge.refunded", ("charge", "amount_refunded")),
            ("checkout.session.completed", ("checkout.session", "amount_total")),
        ];
        let (object, amount) = self.one_of(Scheme::Stripe, &known)?;
        // A charge or session belongs to the intent that is the payment.
        let name = if object == "payment_intent" {
            "id"
        } else {
            "payment_intent"
        };
        Ok(json!({
            "id": self.event_id(Scheme::Stripe),
            "object": "event",
            "type": self.event,
            "created": self.seconds(),
            "livemode": false,
            "data": { "object": {
                "object": object,
                name: self.payment.as_str(),
                "amount": self.money.minor,
                amount: self.money.minor,
                "currency": self.money.currency.to_lowercase(),
                "captured": true,
                "payment_status": "paid",
            }},
        }))
    }

    fn standard(&self, pointers: &Pointers) -> Result<Value, SampleError> {
        let known: Vec<(&str, ())> = pointers.meanings.iter().map(|(name, _)| (name.as_str(), ())).collect();
        self.one_of(Scheme::Standard, &known)?;
        let mut body = json!({});
        let fields = [
            (&pointers.event, json!(self.event)),
            (&pointers.time, json!(self.at.to_string())),
            (&pointers.reference, json!(self.payment.as_str())),
            (&pointers.amount, json!(self.money.minor)),
            (&pointers.currency, json!(self.money.currency)),
        ];
        for (pointer, value) in fields {
            place(&mut body, pointer, value).ok_or_else(|| SampleError::Pointer(pointer.clone()))?;
        }
        Ok(body)
    }
}

/// Puts a value where a pointer leads, making the objects on the way.
fn place(body: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let mut here = body;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        if here.is_null() {
            *here = json!({});
        }
        here = here.as_object_mut()?.entry(name).or_insert(Value::Null);
    }
    *here = value;
    Some(())
}
