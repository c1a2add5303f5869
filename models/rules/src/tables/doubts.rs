//! Findings about the text of a table: cells and rows that can be read, and may not be meant so.
//!
//! Tables that hold them were accepted once and are served on. A finding of the kind
//! [`TableFindingKind::Ambiguous`] refuses the table's next change.

use verdict_config::FieldType;
use verdict_config::definition::{HitPolicy, TableDefinition};

use super::cell::{ambiguity, plain_texts};
use super::{ColumnTarget, TableContext, TableFinding, TableFindingKind};

/// The most findings of a table's text.
const FINDINGS_MAX: usize = 100;

/// Words that other languages have for a missing value.
const NULLS: [&str; 5] = ["null", "nil", "none", "nan", "n/a"];

/// A column as far as its text says what it is.
enum Role<'c> {
    Comment,
    Output,
    Condition(ColumnTarget<'c>),
}

/// Every finding about the cells and rows of a table that compiles.
pub fn find(table: &TableDefinition, context: &TableContext<'_>) -> Vec<TableFinding> {
    let role = |name: &String| {
        let name = name.trim();
        if name.starts_with('#') {
            return Role::Comment;
        }
        if name.starts_with("then.") {
            return Role::Output;
        }
        (context.resolve)(name).map_or(Role::Comment, Role::Condition)
    };
    let roles: Vec<Role<'_>> = table.columns.iter().map(role).collect();
    let mut findings = Vec::new();
    for (at, row) in (0u32..).zip(&table.rows) {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        let is_last = at as usize + 1 == table.rows.len();
        findings.extend(of_row(at, row, &roles, (is_last, context.hit_policy)));
        for ((cell, role), column) in row.iter().zip(&roles).zip(&table.columns) {
            if let Role::Condition(target) = role {
                let found = of_cell(cell.trim(), *target, context);
                findings.extend(found.map(|(kind, message)| TableFinding {
                    column: Some(column.trim().into()),
                    ..TableFinding::new(kind, vec![at], message)
                }));
            }
        }
    }
    findings
}

fn of_row(
    at: u32,
    row: &[String],
    roles: &[Role<'_>],
    (is_last, policy): (bool, HitPolicy),
) -> Option<TableFinding> {
    let silent = |cell: &String| matches!(cell.trim(), "" | "-");
    let told = || row.iter().zip(roles).filter(|(_, role)| !matches!(role, Role::Comment));
    let conditions = || told().filter(|(_, role)| matches!(role, Role::Condition(_)));
    let is_open = conditions().all(|(cell, _)| silent(cell));
    // By priority, a default stands anywhere: only one that is not marked as such is in doubt.
    let is_default =
        policy == HitPolicy::Priority && conditions().all(|(cell, _)| cell.trim() == "-");
    let is_silent = told().all(|(cell, _)| silent(cell));
    let is_empty = told().all(|(cell, _)| cell.trim().is_empty());
    let number = at + 1;
    if is_empty || (is_silent && !is_last) {
        let message = format!(
            "row {number} says nothing and matches every input: remove it, or write `-` for any \
             value and what then follows"
        );
        return Some(TableFinding::new(TableFindingKind::Ambiguous, vec![at], message));
    }
    (is_open && !is_last && !is_default).then(|| {
        let message = format!(
            "row {number} matches every input and is not the last one: write a condition, or move \
             it to the end if it is the default"
        );
        TableFinding::new(TableFindingKind::Suspect, vec![at], message)
    })
}

fn of_cell(
    text: &str,
    target: ColumnTarget<'_>,
    context: &TableContext<'_>,
) -> Option<(TableFindingKind, String)> {
    if let Some(message) = ambiguity(text, target.field_type) {
        return Some((TableFindingKind::Ambiguous, message));
    }
    let is_text =
        matches!(target.field_type, FieldType::Symbol | FieldType::String | FieldType::Set);
    if !is_text || text.is_empty() || text == "-" {
        return None;
    }
    let symbols = target.field.and_then(|field| field.symbols.as_ref());
    let is_symbol = |item: &str| symbols.is_some_and(|known| known.iter().any(|one| one == item));
    plain_texts(text).into_iter().filter(|item| !is_symbol(item)).find_map(|item| {
        let message = if NULLS.iter().any(|null| item.eq_ignore_ascii_case(null)) {
            format!(
                "the cell is the text {item:?}: write unknown for a missing value, or quotation \
                 marks around the text"
            )
        } else if item != "unknown" && (context.resolve)(item).is_some() {
            format!(
                "the cell is the text {item:?} and not the value of the field of that name: compare \
                 two fields in `when`, or write quotation marks around the text"
            )
        } else {
            return None;
        };
        Some((TableFindingKind::Suspect, message))
    })
}
