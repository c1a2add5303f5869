//! Expressions back to text, in one canonical form: equal trees have equal texts.

use std::fmt::{self, Display, Write as _};

use super::{Node, NodeKind};

/// Every operator's operands are put in brackets unless they are simple, so the text of a tree
/// parses to the same tree.
impl Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Bool(value) => write!(formatter, "{value}"),
            NodeKind::Number(text) => formatter.write_str(text),
            NodeKind::Text(text) => write_text(formatter, text),
            NodeKind::List(items) => {
                formatter.write_char('[')?;
                write_joined(formatter, items, ", ")?;
                formatter.write_char(']')
            }
            NodeKind::Name(name) => write_name(formatter, name),
            NodeKind::Not(inner) => {
                formatter.write_char('!')?;
                write_operand(formatter, inner)
            }
            NodeKind::Negate(inner) => {
                formatter.write_char('-')?;
                write_operand(formatter, inner)
            }
            NodeKind::And(parts) => write_operands(formatter, parts, " && "),
            NodeKind::Or(parts) => write_operands(formatter, parts, " || "),
            NodeKind::Binary(operator, left, right) => {
                write_operand(formatter, left)?;
                write!(formatter, " {} ", operator.as_str())?;
                write_operand(formatter, right)
            }
            NodeKind::If(condition, then, otherwise) => {
                write_operand(formatter, condition)?;
                formatter.write_str(" ? ")?;
                write_operand(formatter, then)?;
                formatter.write_str(" : ")?;
                write_operand(formatter, otherwise)
            }
            NodeKind::Call(name, arguments) => {
                write!(formatter, "{name}(")?;
                write_joined(formatter, arguments, ", ")?;
                formatter.write_char(')')
            }
        }
    }
}

fn write_joined(formatter: &mut fmt::Formatter<'_>, items: &[Node], between: &str) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            formatter.write_str(between)?;
        }
        write!(formatter, "{item}")?;
    }
    Ok(())
}

fn write_operands(
    formatter: &mut fmt::Formatter<'_>,
    parts: &[Node],
    between: &str,
) -> fmt::Result {
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            formatter.write_str(between)?;
        }
        write_operand(formatter, part)?;
    }
    Ok(())
}

fn write_operand(formatter: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    let simple = match node.kind {
        NodeKind::Bool(_)
        | NodeKind::Number(_)
        | NodeKind::Text(_)
        | NodeKind::List(_)
        | NodeKind::Name(_)
        | NodeKind::Call(..) => true,
        NodeKind::Not(_)
        | NodeKind::Negate(_)
        | NodeKind::And(_)
        | NodeKind::Or(_)
        | NodeKind::Binary(..)
        | NodeKind::If(..) => false,
    };
    if simple { write!(formatter, "{node}") } else { write!(formatter, "({node})") }
}

fn write_name(formatter: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !matches!(part, "true" | "false" | "null" | "in" | "and" | "or" | "not")
    };
    if name.split('.').all(plain) {
        formatter.write_str(name)
    } else {
        write!(formatter, "`{name}`")
    }
}

fn write_text(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => formatter.write_str("\\\"")?,
            '\\' => formatter.write_str("\\\\")?,
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            c if c.is_control() => write!(formatter, "\\u{:04x}", u32::from(c))?,
            c => formatter.write_char(c)?,
        }
    }
    formatter.write_char('"')
}
