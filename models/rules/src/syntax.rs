//! The text of expressions: tokens, grammar, and the tree as it is written.
//!
//! The grammar is a subset of CEL's: literals, names with dots, calls, `! -`, `* / %`, `+ -`, the
//! relations, `&&`, `||` and `?:`. `&&` and `||` take any number of parts, so that a long chain is
//! wide and not deep. Depth and number of nodes are bounded while the text is read, hence whatever
//! walks the tree later may recurse.

pub(crate) mod hints;
mod lexer;
mod parser;
mod print;

use crate::RuleLimits;

pub use parser::parse_expression_within;

/// A place in an expression: byte offsets, end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// One node of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
    /// Height of the tree below and with it.
    pub(crate) depth: u32,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written; its type comes from where it stands.
    Number(Box<str>),
    /// A text.
    Text(Box<str>),
    /// A list in brackets.
    List(Vec<Node>),
    /// A name, dots included: `amount`, `scores.risk`.
    Name(Box<str>),
    /// `!`.
    Not(Box<Node>),
    /// `-`.
    Negate(Box<Node>),
    /// `&&` of two or more.
    And(Vec<Node>),
    /// `||` of two or more.
    Or(Vec<Node>),
    /// An operator between two.
    Binary(Operator, Box<Node>, Box<Node>),
    /// `condition ? then : otherwise`.
    If(Box<Node>, Box<Node>, Box<Node>),
    /// A call; the receiver of a method call is its first argument.
    Call(Box<str>, Vec<Node>),
}

/// Operators between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `in`
    In,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Operator {
    /// The operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Byte offset.
    pub offset: u32,
    /// What was found and what would be right.
    pub message: String,
}

/// Reads an expression within the default limits.
///
/// # Errors
/// The first place that does not fit the grammar or the limits.
pub fn parse_expression(text: &str) -> Result<Node, SyntaxError> {
    parse_expression_within(text, &RuleLimits::default())
}

/// A place for people: the column in characters from 1, with the line if there are several.
#[must_use]
pub fn describe_place(text: &str, offset: u32) -> String {
    let (line, column) = line_and_column(text, offset);
    if text.trim_end().contains('\n') {
        format!("line {line}, column {column}")
    } else {
        format!("column {column}")
    }
}

/// Line and column of a byte offset, both from 1, columns in characters.
#[must_use]
pub fn line_and_column(text: &str, offset: u32) -> (u32, u32) {
    let before = text.char_indices().take_while(|(at, _)| *at < offset as usize);
    before.fold(
        (1, 1),
        |(line, column), (_, character)| {
            if character == '\n' { (line + 1, 1) } else { (line, column + 1) }
        },
    )
}
