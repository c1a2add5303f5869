//! Sentences about YAML syntax, in the place of the parser's own words.

use granit_parser::{ErrorKind, ScanError, Span};

use super::{Remark, place_of_error, shown};

/// Characters that begin something else than a text.
const INDICATORS: &str = "!&*%@`|>{}[]\"'?";

/// The place and meaning of a syntax error.
pub fn of_syntax(error: &ScanError, text: &str) -> Remark {
    let place = place_of_error(error);
    let what = sentence(error.kind());
    let hint = hint(text, place.0).map(|hint| format!(" ({hint})")).unwrap_or_default();
    (place, format!("{what}{hint}"))
}

const fn sentence(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnexpectedEofFlowSequence | ErrorKind::ExpectedFlowSequenceSeparator => {
            "a list that begins with `[` needs commas between its items and a `]` at its end"
        }
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator => {
            "a mapping that begins with `{` needs commas between its keys and a `}` at its end"
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "a bracket has no partner: add or remove one"
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "a quote is never closed: add one at the end of the text"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "text follows a quoted text: put the whole value in quotes, for example \
             'country == \"GB\"'"
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => {
            "a backslash in double quotes begins no known escape: use single quotes, or double it"
        }
        ErrorKind::UnknownAnchor | ErrorKind::MissingAnchorOrAliasName => {
            "`*` begins an alias and `&` an anchor, and there is none of this name: put the value \
             in quotes"
        }
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart => "a tab cannot indent: use blanks",
        ErrorKind::DirectiveDisallowed => {
            "a line that begins with `%` is a directive, which nothing reads: remove it, or put \
             the value in quotes"
        }
        ErrorKind::RecursionLimitExceeded => "the document has too many levels: simplify it",
        ErrorKind::BomInsideDocument => "an invisible byte-order mark stands here: remove it",
        ErrorKind::InvalidBlockScalarHeader | ErrorKind::ZeroBlockScalarIndent => {
            "`>` or `|` begins a text on the lines below: put a value that begins with it in quotes"
        }
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidMappingValueWhitespace
        | ErrorKind::InvalidColonPlacement => {
            "a colon and a blank stand inside a value, or the line is indented too far: put the \
             value in quotes, or correct the indentation"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::BlockSequenceEntryNotAllowed => {
            "the line does not continue what is above it: check its indentation and the colon \
             behind its key"
        }
        ErrorKind::UndeclaredTagHandle
        | ErrorKind::ExpectedTagBang
        | ErrorKind::InvalidTagTerminator
        | ErrorKind::MissingTagUri
        | ErrorKind::UnclosedVerbatimTag
        | ErrorKind::InvalidTagEscape => {
            "`!` begins a YAML tag, and a value has none here: put the value in quotes"
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            "a value cannot begin with this character: put the value in quotes"
        }
        _ => "the YAML cannot be read here: check indentation, colons and quotes",
    }
}

/// What stands in a line that needs quotes.
fn hint(text: &str, line: u32) -> Option<String> {
    let line = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let (key, value) = line.split_once(": ")?;
    let (key, value) = (key.trim().trim_start_matches("- "), value.trim());
    let first = value.chars().next()?;
    let needs_quotes = INDICATORS.contains(first) && !matches!(first, '{' | '[' | '"' | '\'');
    needs_quotes.then(|| format!("the value of {} begins with `{first}`", shown(key)))
}

/// The fault of an explicit tag.
pub fn of_tag(tag: &Span, text: &str) -> String {
    let source = text.strip_prefix('\u{feff}').unwrap_or(text);
    let written = tag.slice(source).unwrap_or("!");
    let rest = source.get(tag.byte_range().map_or(0, |range| range.end)..).unwrap_or_default();
    let value = rest.lines().next().unwrap_or_default();
    let quoted: String = format!("{written}{value}").trim_end().chars().take(60).collect();
    format!(
        "`!` begins a YAML tag, which is lost: put the value in quotes, like '{}'",
        quoted.replace('\'', "''")
    )
}

/// A finding about a comment that may be a part of the value before it.
pub fn of_comment(scalar: &Span, text: &str) -> Option<String> {
    let source = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = source.get(scalar.byte_range()?.end..)?;
    let rest = rest.split(['\n', '\r']).next()?.trim_start_matches([' ', '\t']);
    let comment = rest.strip_prefix('#')?;
    let is_usual = comment.chars().next().is_none_or(|first| first.is_whitespace() || first == '#');
    (!is_usual).then(|| {
        format!(
            "{} is a comment and not part of the value: put the value in quotes if it belongs to \
             it, or put a blank behind `#`",
            shown(rest.trim_end())
        )
    })
}
