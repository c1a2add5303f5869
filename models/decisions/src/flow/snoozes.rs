//! Which rules sleep for which unit, and until when.

use std::collections::BTreeMap;
use std::sync::Arc;

use verdict_config::TimestampMs;
use verdict_config::definition::hash_unit;

/// A rule that is snoozed for some unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnoozedRule {
    pub set: u32,
    pub rule: u32,
    pub expires: TimestampMs,
    /// The object that says so.
    pub source: Arc<str>,
}

/// A flow's snoozes by unit.
#[derive(Debug, Default)]
pub(crate) struct Snoozes {
    /// Of the list `snooze.FLOW`, by the unit as it is written there.
    plain: BTreeMap<String, Vec<SnoozedRule>>,
    /// Of snooze objects, which do not say the unit: by salt, and by the unit's hash.
    hashed: BTreeMap<Arc<str>, BTreeMap<[u8; 32], Vec<SnoozedRule>>>,
}

impl Snoozes {
    /// Adds an entry of the list.
    pub fn add_plain(&mut self, unit: &str, rule: SnoozedRule) {
        self.plain.entry(unit.to_owned()).or_default().push(rule);
    }

    /// Adds a snooze object.
    pub fn add_hashed(&mut self, salt: &str, unit_hash: [u8; 32], rule: SnoozedRule) {
        let by_hash = self.hashed.entry(salt.into()).or_default();
        by_hash.entry(unit_hash).or_default().push(rule);
    }

    /// Rules that sleep for a unit at some time. Hashes the unit once for each salt.
    pub fn at<'own>(
        &'own self,
        flow: &'own str,
        unit: &'own str,
        as_of: TimestampMs,
    ) -> impl Iterator<Item = &'own SnoozedRule> {
        let plain = self.plain.get(unit);
        let hashed = self
            .hashed
            .iter()
            .filter_map(move |(salt, by_hash)| by_hash.get(&hash_unit(salt, flow, unit)));
        plain.into_iter().chain(hashed).flatten().filter(move |rule| as_of < rule.expires)
    }
}
