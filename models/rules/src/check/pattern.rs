//! Patterns of `matches`: RE2 syntax, whose classes `\d \w \s \b` are those of ASCII.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast, ClassPerl, ClassPerlKind, ClassSetItem, Span, Visitor};
use verdict_config::EvaluationVersion;

/// The deepest nesting of a pattern.
const NEST_MAX: u32 = 32;

/// Compiles a pattern within a bound of memory.
///
/// # Errors
/// Why it is not valid, in a sentence.
pub(super) fn build(
    source: &str,
    bytes_max: usize,
    evaluation: EvaluationVersion,
) -> Result<Regex, String> {
    let build = |source: &str| {
        RegexBuilder::new(source)
            .size_limit(bytes_max)
            .dfa_size_limit(bytes_max)
            .nest_limit(NEST_MAX)
            .build()
    };
    // What is wrong is said of the pattern as it is written.
    let built = build(source).map_err(|error| reason(&error.to_string()))?;
    if evaluation == EvaluationVersion::V1 {
        return Ok(built);
    }
    match with_ascii_classes(source) {
        Some(ascii) => build(&ascii).map_err(|error| reason(&error.to_string())),
        None => Ok(built),
    }
}

fn reason(error: &str) -> String {
    let last = error.lines().last().unwrap_or("it cannot be read").trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The pattern with its classes written out; `None` if it has none.
fn with_ascii_classes(source: &str) -> Option<String> {
    let ast = ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(source).ok()?;
    let found = ast::visit(&ast, Classes::default()).ok()?;
    if found.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(source.len() + 16 * found.len());
    let mut behind = 0;
    for (span, class) in found {
        text.push_str(source.get(behind..span.start.offset)?);
        text.push_str(class);
        behind = span.end.offset;
    }
    text.push_str(source.get(behind..)?);
    Some(text)
}

/// The classes of a pattern in the order of the text, each with what it stands for.
#[derive(Default)]
struct Classes(Vec<(Span, &'static str)>);

/// A class stands alone or in brackets with others; spaces are written as numbers, because a pattern may
/// ignore them.
const fn written_out(class: &ClassPerl) -> &'static str {
    match (&class.kind, class.negated) {
        (ClassPerlKind::Digit, false) => "[0-9]",
        (ClassPerlKind::Digit, true) => "[^0-9]",
        (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
        (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        (ClassPerlKind::Space, false) => r"[\t\n\x0C\r\x20]",
        (ClassPerlKind::Space, true) => r"[^\t\n\x0C\r\x20]",
    }
}

impl Visitor for Classes {
    type Output = Vec<(Span, &'static str)>;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self::Output, Self::Err> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::ClassPerl(class) => self.0.push((class.span, written_out(class))),
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::WordBoundary => self.0.push((assertion.span, r"(?-u:\b)")),
                ast::AssertionKind::NotWordBoundary => self.0.push((assertion.span, r"(?-u:\B)")),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Self::Err> {
        if let ClassSetItem::Perl(class) = item {
            self.0.push((class.span, written_out(class)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_ascii_from_the_second_version_on() {
        // Pattern, text, first version, second version.
        for (pattern, text, first, second) in [
            (r"^\d+$", "١٢٣", true, false),
            (r"^\d+$", "123", true, true),
            (r"^[\d.]+$", "１.２", true, false),
            (r"^[\d.]+$", "1.2", true, true),
            (r"^\w+$", "müller", true, false),
            (r"^\w+$", "muller_9", true, true),
            (r"^\D$", "٣", false, true),
            (r"^[^\d]$", "٣", false, true),
            (r"^\s$", "\u{a0}", true, false),
            (r"^[\s]$", "\u{2003}", true, false),
            (r"(?x) ^ \s [\s\d] $", " 1", true, true),
            (r"^\S$", "\u{a0}", false, true),
            (r"\bgeld\b", "éneugeld", false, false),
            (r"\bgeld\b", "égeld", false, true),
            (r"a\Bé", "aé", true, false),
            (r"\Bé", "éé", true, true),
            (r"^.$", "é", true, true),
            (r"(?i)^É$", "é", true, true),
            (r"^\\d$", "\\d", true, true),
            (r"^[[:alpha:]]$", "é", false, false),
        ] {
            for (version, expected) in
                [(EvaluationVersion::V1, first), (EvaluationVersion::V2, second)]
            {
                let built = build(pattern, 1 << 20, version).unwrap();
                assert_eq!(built.is_match(text), expected, "{pattern} {text} {version:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_pattern_as_it_is_written() {
        let message = build(r"(\d", 1 << 20, EvaluationVersion::V2).unwrap_err();
        assert_eq!(message, "unclosed group");
    }
}
