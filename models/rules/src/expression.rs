//! The typed tree that checked expressions become: names are slots, literals have their type, lists
//! and tables are positions. Nothing in it can be of the wrong type.

use regex::Regex;
use rust_decimal::Decimal;
use verdict_config::{EvaluationVersion, FieldType};

use crate::Slot;
use crate::calendar::{Part, Zone};

/// The types of the language. Symbols and strings are one type here: both are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Bool,
    Int,
    Decimal,
    Float,
    Text,
    Time,
    Duration,
    Set,
}

impl Type {
    pub(crate) const fn of(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Bool => Self::Bool,
            FieldType::Int => Self::Int,
            FieldType::Decimal => Self::Decimal,
            FieldType::Float => Self::Float,
            FieldType::Symbol | FieldType::String => Self::Text,
            FieldType::Time => Self::Time,
            FieldType::Set => Self::Set,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Float => "float",
            Self::Text => "text",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Set => "set",
        }
    }

    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Decimal | Self::Float)
    }
}

/// What has a truth value.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Constant(bool),
    /// Kleene's `&&`.
    All(Box<[Condition]>),
    /// Kleene's `||`.
    Any(Box<[Condition]>),
    Not(Box<Condition>),
    /// Condition, then, otherwise.
    If(Box<[Condition; 3]>),
    /// Both have the same truth value.
    Same(Box<[Condition; 2]>),
    /// A position among the set's atoms.
    Atom(u32),
}

/// A part of a condition without operators inside; rules that say the same share one.
#[derive(Debug, Clone)]
pub(crate) struct Atom {
    pub(crate) kind: AtomKind,
    /// Facts it reads.
    pub(crate) reads: Box<[Slot]>,
    /// Worst-case cost units.
    pub(crate) cost_units_max: u64,
    /// Whether its value is kept for the rest of the evaluation.
    pub(crate) kept: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum AtomKind {
    /// A bool fact.
    Truth(Slot),
    /// Whether a fact is present.
    Has(Slot),
    /// Both terms are of one type.
    Compare(Relation, Term, Term),
    /// The term is one of the constants.
    Among(Term, Constants),
    /// The text is in the fact, which is a set.
    Member(Term, Slot),
    /// The first text contains, begins or ends with the second.
    Search(Search, Term, Term),
    /// The text matches the pattern somewhere.
    Matches(Term, Regex),
    /// A term of the keyword list is in the field's text.
    Keywords { list: u32, scan: u32, field: Slot },
    /// The field's value is in the code list.
    Listed { list: u32, field: Slot },
    /// A text that is computed is in the code list.
    ListedText { list: u32, text: Term },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    pub(crate) const fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// `a R b` is `b R.flipped() a`.
    pub(crate) const fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// `!(a R b)` is `a R.negated() b`, for types whose values are totally ordered.
    pub(crate) const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// What has a value. Times and durations are integers of milliseconds.
#[derive(Debug, Clone)]
pub(crate) enum Term {
    Fact(Slot, Type),
    Constant(Constant),
    AsOf,
    Arithmetic(Arithmetic, Box<[Term; 2]>),
    Negate(Box<Term>),
    Convert(Type, Box<Term>),
    TextSize(Box<Term>),
    SetSize(Slot),
    /// Lower case; in normal form C from the second version of evaluation on.
    Lower(Box<Term>, EvaluationVersion),
    /// A position among the set's name look-ups.
    NameScore(u32),
    Lookup {
        table: u32,
        column: u32,
        key: Box<Term>,
    },
    /// A calendar part of a time.
    CalendarPart {
        part: Part,
        zone: Zone,
        time: Box<Term>,
    },
    /// The date of a time as text.
    CalendarDate {
        zone: Zone,
        time: Box<Term>,
    },
    If(Box<Condition>, Box<[Term; 2]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constant {
    /// Int, time or duration.
    Int(i64),
    Decimal(Decimal),
    Float(f64),
    Text(Box<str>),
}

impl Constant {
    /// The order of two constants of one type.
    pub(crate) fn order(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Constants of one type, sorted, without repetition.
#[derive(Debug, Clone)]
pub(crate) enum Constants {
    Ints(Box<[i64]>),
    Decimals(Box<[Decimal]>),
    Floats(Box<[f64]>),
    Texts(Box<[Box<str>]>),
}

impl Constants {
    /// The constants of one type; those of another type are left out.
    pub(crate) fn new(of: Type, constants: Vec<Constant>) -> Self {
        match of {
            Type::Decimal => {
                let decimal =
                    |c| if let Constant::Decimal(number) = c { Some(number) } else { None };
                let mut numbers: Vec<Decimal> = constants.into_iter().filter_map(decimal).collect();
                numbers.sort_unstable();
                numbers.dedup();
                Self::Decimals(numbers.into())
            }
            Type::Float => {
                let float = |c| if let Constant::Float(number) = c { Some(number) } else { None };
                let mut numbers: Vec<f64> = constants.into_iter().filter_map(float).collect();
                numbers.sort_by(f64::total_cmp);
                numbers.dedup();
                Self::Floats(numbers.into())
            }
            Type::Text => {
                let text = |c| if let Constant::Text(text) = c { Some(text) } else { None };
                let mut texts: Vec<Box<str>> = constants.into_iter().filter_map(text).collect();
                texts.sort_unstable();
                texts.dedup();
                Self::Texts(texts.into())
            }
            Type::Bool | Type::Int | Type::Time | Type::Duration | Type::Set => {
                let int = |c| if let Constant::Int(number) = c { Some(number) } else { None };
                let mut numbers: Vec<i64> = constants.into_iter().filter_map(int).collect();
                numbers.sort_unstable();
                numbers.dedup();
                Self::Ints(numbers.into())
            }
        }
    }
}

/// One call of `name_match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NameCall {
    pub(crate) list: u32,
    pub(crate) name: Slot,
    pub(crate) country: Option<Slot>,
    pub(crate) identifier: Option<Slot>,
}
