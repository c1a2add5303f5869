//! JsonLogic, compiled once to a typed tree and evaluated many times.
//!
//! A rule is an object with one operator, or a literal. Compilation resolves paths, literals,
//! versions, weights and references, and bounds depth and size; evaluation then borrows from rule
//! and context and counts its steps. The semantics are those of json-logic-js, with flagd's
//! operators (`fractional`, `starts_with`, `ends_with`, `sem_ver`), which give null on any error of
//! their own.

pub(super) mod coerce;
mod compile;
pub(super) mod datum;
mod evaluate;
pub(super) mod node;

use serde_json::Value as Json;

pub(super) use compile::{CompileOptions, References, Shared};
pub use compile::{LOGIC_DEPTH_MAX, LOGIC_NODES_MAX};
pub(super) use datum::Datum;
pub(super) use evaluate::{Evaluator, Root};
pub use evaluate::{LogicError, STEPS_MAX};

use crate::Faults;
use node::Node;

/// A compiled rule.
#[derive(Debug)]
pub struct Logic {
    root: Node,
    reads_time: bool,
    splits: bool,
    named: Box<[Box<str>]>,
    unresolved: Box<[Box<str>]>,
}

impl Logic {
    /// Compiles a rule that uses no references.
    ///
    /// # Errors
    /// Every unknown operator, and a rule that is too deep or too large.
    pub fn compile(rule: &Json) -> Result<Self, Faults> {
        Self::compile_with(rule, &CompileOptions::default())
    }

    /// The rule's value for some data.
    ///
    /// # Errors
    /// [`LogicError`] where a bound is exceeded.
    pub fn apply(&self, data: &Json) -> Result<Json, LogicError> {
        Evaluator::new(Root::Data(data)).run(&self.root).map(|value| value.to_json())
    }

    /// Whether the result can depend on `$flagd.timestamp`.
    #[must_use]
    pub const fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// Every name that a reference has, resolved or not.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|name| &**name)
    }

    /// References that name nothing.
    pub(super) fn unresolved(&self) -> impl Iterator<Item = &str> {
        self.unresolved.iter().map(|name| &**name)
    }

    /// Whether there is a `fractional` in it: then the result depends on the hash's version.
    pub(super) const fn splits(&self) -> bool {
        self.splits
    }

    pub(super) const fn root(&self) -> &Node {
        &self.root
    }
}
