//! Calls that ask a time for a calendar part: `as_of.getHours("Europe/Berlin")`, `as_of.date()`.

use verdict_config::{Code, EvaluationVersion};

use super::{Checker, Typed, shown};
use crate::calendar::{Part, Zone};
use crate::expression::{Term, Type};
use crate::syntax::{Node, NodeKind};

/// What a call asks of a time.
enum Asked {
    Part(Part),
    /// The date as text.
    Date,
}

impl Asked {
    fn named(method: &str) -> Option<Self> {
        match method {
            "date" => Some(Self::Date),
            _ => Part::named(method).map(Self::Part),
        }
    }
}

/// Whether a call asks a time for a calendar part.
pub(super) fn is_calendar(name: &str) -> bool {
    Asked::named(name).is_some()
}

impl Checker<'_, '_> {
    /// Checks a call that [`is_calendar`].
    pub(super) fn calendar(
        &mut self,
        node: &Node,
        name: &str,
        arguments: &[Node],
    ) -> Option<Typed> {
        let (time, zone) = match arguments {
            [time] => (time, None),
            [time, zone] => (time, Some(zone)),
            _ => return self.no_such_call(node, name, arguments.len()),
        };
        let old = matches!(name, "getHours" | "getDayOfWeek") && zone.is_none();
        if !old && !self.evaluates_by(EvaluationVersion::V2) {
            let what = if zone.is_some() { "a time zone" } else { name };
            let message = format!(
                "{what} needs version 3 of the cluster, and the cluster runs at an older one: start \
                 this program on every node, and the leader raises the version"
            );
            self.fault(Code::RuleSyntax, node, &message);
            return None;
        }
        let time = self.time(time);
        let zone = match zone {
            None => Zone::Utc,
            Some(zone) => self.zone(zone)?,
        };
        let time = Box::new(time?);
        Some(match Asked::named(name)? {
            Asked::Part(part) => Typed::Term(Term::CalendarPart { part, zone, time }, Type::Int),
            Asked::Date => Typed::Term(Term::CalendarDate { zone, time }, Type::Text),
        })
    }

    /// Whether rules evaluate at least by a version.
    pub(super) fn evaluates_by(&self, version: EvaluationVersion) -> bool {
        self.builder.environment.limits.evaluation >= version
    }

    fn zone(&mut self, node: &Node) -> Option<Zone> {
        let NodeKind::Text(name) = &node.kind else {
            let message = format!(
                "expected a time zone in quotes (\"Europe/Berlin\"), found {}: zones are checked \
                 when the rule is published",
                shown(node)
            );
            return self.type_fault(node, &message);
        };
        match Zone::named(name) {
            Ok(zone) => Some(zone),
            Err(message) => {
                self.fault(Code::UnknownReference, node, &message);
                None
            }
        }
    }
}
