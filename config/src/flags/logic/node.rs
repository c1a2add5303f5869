//! The tree that a rule is compiled to.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::datum::Segment;
use crate::flags::fractional::Split;
use crate::flags::version::Version;

/// One operation, with everything about it that does not depend on the context resolved.
#[derive(Debug)]
pub enum Node {
    /// A literal.
    Constant(Json),
    /// A list with operations in it.
    List(Box<[Node]>),
    /// `$flagd.flagKey`
    FlagKey,
    /// `$flagd.timestamp`, in seconds.
    Timestamp,
    /// `var` with a literal path.
    Var {
        /// The steps; none means the whole.
        path: Box<[Segment]>,
        /// What stands in for a missing value and for null.
        default: Option<Box<Node>>,
    },
    /// `var` with a computed path.
    VarComputed {
        /// Gives the path.
        path: Box<Node>,
        /// What stands in for a missing value and for null.
        default: Option<Box<Node>>,
    },
    /// `missing`
    Missing(Box<[Node]>),
    /// `missing_some`
    MissingSome(Box<[Node; 2]>),
    /// `if` and `?:`
    If(Box<[Node]>),
    /// `and`
    And(Box<[Node]>),
    /// `or`
    Or(Box<[Node]>),
    /// `!` (true) and `!!` (false)
    Truth(Box<Node>, bool),
    /// `==`, `===`, `!=`, `!==`
    Equal {
        /// Without conversions.
        strict: bool,
        /// The opposite.
        negated: bool,
        /// Both sides.
        sides: Box<[Node; 2]>,
    },
    /// `<`, `<=`, `>`, `>=`; with three sides each pair must hold.
    Order(Comparison, Box<[Node]>),
    /// `+ - * / % min max`
    Arithmetic(Arithmetic, Box<[Node]>),
    /// `in`
    In(Box<[Node; 2]>),
    /// `in` a literal list of texts.
    InTexts(Box<Node>, HashSet<Box<str>>),
    /// `cat`
    Cat(Box<[Node]>),
    /// `substr`
    Substring(Box<[Node]>),
    /// `merge`
    Merge(Box<[Node]>),
    /// `map`, `filter`, `all`, `some`, `none`
    Each(Each, Box<[Node; 2]>),
    /// `reduce`: list, operation, start.
    Reduce(Box<[Node; 3]>),
    /// `starts_with` (true) and `ends_with` (false)
    Affix(bool, Box<[Node]>),
    /// `sem_ver`
    Version(Box<VersionTest>),
    /// `fractional`
    Fractional(Box<Split>),
    /// A shared condition.
    Shared(Arc<Node>),
    /// A reference that names nothing.
    Unresolved(Box<str>),
}

/// How two values are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What is computed of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
    /// `min`
    Minimum,
    /// `max`
    Maximum,
}

/// What is done with each item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Each {
    /// `map`
    Map,
    /// `filter`
    Filter,
    /// `all`; false for the empty list.
    All,
    /// `some`
    Some,
    /// `none`
    None,
}

/// A comparison of versions; `None` where there are not three arguments.
#[derive(Debug)]
pub struct VersionTest {
    /// The arguments as written.
    pub arguments: Box<[Node]>,
    /// The third argument, if it is a literal version.
    pub literal: Option<Version>,
}
