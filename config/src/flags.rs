//! Feature flags: flagd's format and semantics in full, and what a flag may say beyond it.
//!
//! ```text
//! flagd file --split_file--> flag objects + setting flag-file.STEM --FlagSet::compile--> FlagSet
//!                                                                                          |
//!                       OFREP bodies, ETags <--ofrep-- Resolution <--evaluate(key, context, at)
//! ```
//!
//! Everything is checked strictly when it is written ([`parse_file`], [`validate_flag`],
//! [`FlagSet::compile`]) and compiled once; evaluation borrows, counts its work and never panics.
//! It is pure: time is an argument, and equal content gives equal results on every node.
//!
//! # The order of an evaluation
//! 1. `state: DISABLED`: no value, reason DISABLED.
//! 2. `off`: that variant for everybody, STATIC (the kill switch).
//! 3. `regions`, `prerequisites`, `segments`: where one does not hold, the default variant,
//!    DEFAULT.
//! 4. `schedule`: the first window that holds the time gives its variant, TARGETING_MATCH, or puts
//!    its targeting in the place of the flag's.
//! 5. `targeting`: what it gives, TARGETING_MATCH; null goes on.
//! 6. `experiment`: the unit's arm, SPLIT.
//! 7. `rollout`: its variant for units that are in, SPLIT.
//! 8. The default variant: STATIC if the flag has none of 3 to 7, else DEFAULT; without a default
//!    variant no value, DEFAULT.
//!
//! # Splits
//! `fractional` assigns as flagd's clients do, in the version that the flag pins. `rollout` and
//! `experiment` put a unit at position `(murmur3(salt/purpose/unit) * 100000) >> 32`; a unit is in
//! where its position is below the percentage in thousandths. A larger percentage therefore only
//! adds units. An experiment's arms have a hash of their own, so a larger share moves nobody
//! between arms.
//!
//! # Example
//! ```
//! use std::collections::BTreeMap;
//! use serde_json::json;
//! use verdict_config::TimestampMs;
//! use verdict_config::flags::{EvaluationContext, FlagSet, FlagSources, Reason};
//!
//! let flag = json!({
//!     "state": "ENABLED",
//!     "variants": {"on": true, "off": false},
//!     "defaultVariant": "off",
//!     "targeting": {"if": [{"==": [{"var": "country"}, "NL"]}, "on", null]}
//! });
//! let flags = BTreeMap::from([("checkout", &flag)]);
//! let sources = FlagSources { flags, ..Default::default() };
//! let set = FlagSet::compile(&sources).expect("a valid flag");
//!
//! let user = json!({"targetingKey": "u1", "country": "NL"});
//! let context = EvaluationContext::from_json(user).expect("a context");
//! let resolution = set.evaluate("checkout", &context, TimestampMs(0));
//! assert_eq!((resolution.as_bool(), resolution.reason), (Some(true), Reason::TargetingMatch));
//! ```

mod canonical;
mod cbor;
mod compile;
mod compiled;
mod context;
mod definition;
mod evaluate;
mod extension;
pub mod file;
mod fractional;
mod hash;
mod index;
mod json;
mod logic;
pub mod ofrep;
mod reachable;
mod resolution;
mod schema;
mod set;
mod trail;
mod version;

pub use canonical::write_canonical;
pub use compile::check_alone;
pub use context::{CONTEXT_DEPTH_MAX, ContextError, EvaluationContext, TARGETING_KEY};
pub use definition::{
    CheckedFlag, FlagDefinition, FlagParts, FlagState, FlagType, VARIANTS_MAX, check_flag,
    validate_flag, validate_segment,
};
pub use extension::{
    ArmRule, EXTENSION_ITEMS_MAX, ExperimentRule, Extensions, POSITIONS, Percent, Prerequisite,
    RolloutRule, ScheduleWindow, SegmentRule,
};
pub use file::{
    FlagFile, Relaxed, file_text, join_file, parse_file, relax_document, relax_flag, split_file,
};
pub use fractional::HashVersion;
pub use hash::{Murmur3, murmur3, position};
pub use json::{JSON_DEPTH_MAX, JsonFault, parse_strict};
pub use logic::{LOGIC_DEPTH_MAX, LOGIC_NODES_MAX, Logic, LogicError, STEPS_MAX};
pub use reachable::VariantReach;
pub use resolution::{Assignment, ErrorCode, Reason, Resolution, ResolutionError};
pub use set::{
    FlagSet, FlagSource, FlagSources, FlagUpdate, PREREQUISITE_COST_MAX, PREREQUISITE_DEPTH_MAX,
};
