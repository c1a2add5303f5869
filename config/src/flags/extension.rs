//! What a flag may say beyond flagd's own properties.
//!
//! The types are as written; [`Extensions::read`] checks them one property at a time so that every
//! fault is found.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use super::fractional::HashVersion;
use super::trail::Trail;
use crate::{Code, Fault, Faults, TimestampMs};

/// The most prerequisites, windows of a schedule, arms, regions and segments of one flag.
pub const EXTENSION_ITEMS_MAX: usize = 32;

/// Positions that a rollout and an experiment's share divide units into: thousandths of a percent.
pub const POSITIONS: u32 = 100_000;

/// A share of all units from 0 to 100 percent, in steps of 0.001 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// All units.
    pub const ALL: Self = Self(POSITIONS);

    /// A percentage.
    ///
    /// # Errors
    /// A sentence, for numbers outside 0 to 100 and finer than 0.001.
    pub fn new(percent: f64) -> Result<Self, String> {
        let thousandths = percent * 1_000.0;
        let rounded = thousandths.round();
        if !(0.0..=f64::from(POSITIONS)).contains(&rounded) {
            return Err(format!("{percent} is no percentage; use 0 to 100"));
        }
        if (thousandths - rounded).abs() > 1e-6 {
            return Err(format!("{percent} is finer than 0.001 percent"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 100,000"
        )]
        Ok(Self(rounded as u32))
    }

    /// Thousandths of a percent: units at positions below this are in.
    #[must_use]
    pub const fn positions(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1_000.0)
    }
}

impl schemars::JsonSchema for Percent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 100 })
    }
}

/// Which contexts a flag is for. Every group that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentRule {
    /// At least one of these segments holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// All of these segments hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<String>,
    /// None of these segments holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<String>,
}

/// Another flag that must resolve to a variant or value first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prerequisite {
    /// The other flag's key.
    pub flag: String,
    /// The variant it must resolve to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The value it must resolve to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
}

/// A window of time in which a variant, or other targeting, applies: `from <= at < until`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleWindow {
    /// Its start; always was, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimestampMs>,
    /// Its end; always will be, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<TimestampMs>,
    /// The variant for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Targeting in the place of the flag's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<Json>,
}

/// A gradual rollout: the first `percent` of all units get `variant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutRule {
    /// What units that are in get.
    pub variant: String,
    /// How many are in, in steps of 0.001 percent.
    pub percent: Percent,
    /// What makes its order of units differ from that of other rollouts; the flag's key, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The attribute that is the unit, a path; the targeting key, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only on nodes of these regions; everywhere, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
}

/// An experiment's allocation: a share of all units, divided over arms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExperimentRule {
    /// The experiment's key; also its salt, if no other is given.
    pub key: String,
    /// How many units take part, in steps of 0.001 percent.
    #[serde(default = "all_units")]
    pub share: Percent,
    /// What they are divided over, 2 to 32.
    pub arms: Vec<ArmRule>,
    /// What makes its assignment differ from that of other experiments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The attribute that is the unit, a path; the targeting key, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimestampMs>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<TimestampMs>,
    /// Only on nodes of these regions; everywhere, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
}

const fn all_units() -> Percent {
    Percent::ALL
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmRule {
    /// What its units get.
    pub variant: String,
    /// How many of the share it takes, relative to the sum of weights.
    pub weight: u32,
    /// Its name; the variant's, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
}

/// Everything beyond flagd's own properties.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extensions {
    /// `hashVersion`
    pub hash_version: HashVersion,
    /// `segments`
    pub segments: Option<SegmentRule>,
    /// `prerequisites`
    pub prerequisites: Vec<Prerequisite>,
    /// `schedule`
    pub schedule: Vec<ScheduleWindow>,
    /// `experiment`
    pub experiment: Option<ExperimentRule>,
    /// `rollout`
    pub rollout: Option<RolloutRule>,
    /// `regions`
    pub regions: Vec<String>,
    /// `off`
    pub off: Option<String>,
    /// `owner`
    pub owner: Option<String>,
    /// `expires`
    pub expires: Option<TimestampMs>,
}

/// The names of the properties that are ours.
pub const EXTENSION_KEYS: [&str; 11] = [
    "strict",
    "segments",
    "prerequisites",
    "experiment",
    "rollout",
    "hashVersion",
    "schedule",
    "regions",
    "off",
    "owner",
    "expires",
];

impl Extensions {
    /// Reads them from a flag's body, with every fault of their form.
    pub fn read(body: &Map<String, Json>) -> (Self, Faults) {
        let mut reader = Reader { body, faults: Vec::new() };
        let mut extensions = Self {
            hash_version: reader.one("hashVersion").unwrap_or_default(),
            segments: reader.segments(),
            prerequisites: reader.many("prerequisites"),
            schedule: reader.many("schedule"),
            experiment: reader.one("experiment"),
            rollout: reader.one("rollout"),
            regions: reader.many("regions"),
            off: reader.one("off"),
            owner: reader.one("owner"),
            expires: reader.one("expires"),
        };
        reader.check(&mut extensions);
        (extensions, reader.faults)
    }

    /// Every variant that is named, with its place.
    pub fn variants(&self) -> Vec<(String, &str)> {
        let mut named = Vec::new();
        if let Some(off) = &self.off {
            named.push(("off".to_owned(), off.as_str()));
        }
        for (index, window) in self.schedule.iter().enumerate() {
            if let Some(variant) = &window.variant {
                named.push((format!("schedule[{index}].variant"), variant.as_str()));
            }
        }
        if let Some(rollout) = &self.rollout {
            named.push(("rollout.variant".to_owned(), rollout.variant.as_str()));
        }
        if let Some(experiment) = &self.experiment {
            for (index, arm) in experiment.arms.iter().enumerate() {
                named.push((format!("experiment.arms[{index}].variant"), arm.variant.as_str()));
            }
        }
        named
    }
}

struct Reader<'b> {
    body: &'b Map<String, Json>,
    faults: Faults,
}

impl<'b> Reader<'b> {
    fn fault(&mut self, code: Code, place: impl ToString, message: impl Into<String>) {
        self.faults.push(Fault::new(code, place.to_string(), message));
    }

    fn value<T: Deserialize<'b>>(&mut self, value: &'b Json, place: &Trail<'_>) -> Option<T> {
        match T::deserialize(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(Code::FlagInvalid, place, error.to_string());
                None
            }
        }
    }

    fn one<T: Deserialize<'b>>(&mut self, key: &'static str) -> Option<T> {
        let value = self.body.get(key)?;
        self.value(value, &Trail::start(key))
    }

    fn many<T: Deserialize<'b>>(&mut self, key: &'static str) -> Vec<T> {
        let place = Trail::start(key);
        match self.body.get(key) {
            None => Vec::new(),
            Some(Json::Array(items)) if items.len() <= EXTENSION_ITEMS_MAX => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| self.value(item, &place.at(index)))
                .collect(),
            Some(Json::Array(_)) => {
                let message = format!("at most {EXTENSION_ITEMS_MAX} items");
                self.fault(Code::LimitExceeded, place, message);
                Vec::new()
            }
            Some(_) => {
                self.fault(Code::FlagInvalid, place, "must be a list");
                Vec::new()
            }
        }
    }

    /// A list means any of them.
    fn segments(&mut self) -> Option<SegmentRule> {
        let place = Trail::start("segments");
        let value = self.body.get("segments")?;
        let rule = match value {
            Json::Array(_) => SegmentRule { any: self.value(value, &place)?, ..Default::default() },
            _ => self.value::<SegmentRule>(value, &place)?,
        };
        let count = rule.any.len() + rule.all.len() + rule.none.len();
        if count == 0 {
            self.fault(Code::FlagInvalid, place, "name at least one segment");
        } else if count > EXTENSION_ITEMS_MAX {
            self.fault(Code::LimitExceeded, place, format!("at most {EXTENSION_ITEMS_MAX} items"));
        }
        Some(rule)
    }

    fn check(&mut self, extensions: &mut Extensions) {
        for (index, prerequisite) in extensions.prerequisites.iter().enumerate() {
            if prerequisite.variant.is_some() == prerequisite.value.is_some() {
                let place = format!("prerequisites[{index}]");
                self.fault(Code::FlagInvalid, place, "say either variant or value");
            }
        }
        for (index, window) in extensions.schedule.iter().enumerate() {
            let place = format!("schedule[{index}]");
            if window.variant.is_some() == window.targeting.is_some() {
                self.fault(Code::FlagInvalid, &place, "say either variant or targeting");
            }
            if window.from.is_none() && window.until.is_none() {
                self.fault(Code::FlagInvalid, &place, "say from, until or both");
            }
            self.check_window(&place, window.from, window.until);
        }
        if let Some(experiment) = &extensions.experiment {
            self.check_experiment(experiment);
        }
        if let Some(owner) = &extensions.owner
            && (owner.is_empty() || owner.chars().count() > 200)
        {
            self.fault(Code::FlagInvalid, "owner", "1 to 200 characters");
        }
    }

    fn check_window(&mut self, place: &str, from: Option<TimestampMs>, until: Option<TimestampMs>) {
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            self.fault(Code::FlagInvalid, place, format!("{from} is not before {until}"));
        }
    }

    fn check_experiment(&mut self, experiment: &ExperimentRule) {
        if experiment.key.is_empty() {
            self.fault(Code::FlagInvalid, "experiment.key", "must not be empty");
        }
        if !(2..=EXTENSION_ITEMS_MAX).contains(&experiment.arms.len()) {
            let message = format!("2 to {EXTENSION_ITEMS_MAX} arms");
            self.fault(Code::FlagInvalid, "experiment.arms", message);
        }
        let total: u64 = experiment.arms.iter().map(|arm| u64::from(arm.weight)).sum();
        if total == 0 || total > u64::from(i32::MAX.cast_unsigned()) {
            let message = "weights must sum to 1 up to 2147483647";
            self.fault(Code::FlagInvalid, "experiment.arms", message);
        }
        let names: Vec<&str> = experiment.arms.iter().map(ArmRule::name).collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let place = format!("experiment.arms[{index}]");
                self.fault(Code::DuplicateName, place, format!("another arm is called {name:?}"));
            }
        }
        self.check_window("experiment", experiment.from, experiment.until);
    }
}

impl ArmRule {
    /// The arm's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arm.as_deref().unwrap_or(&self.variant)
    }
}
