//! Faults that no honest rule or model makes, put into the decision path of this crate's own tests.

use verdict_decisions::Session;

/// Panics for the unit that asks for it.
pub(crate) fn fault_in_rules(session: &Session) {
    let unit = session.unit().map(|unit| unit.to_string());
    assert!(unit.as_deref() != Some("panic-in-rules"), "deliberate");
}
