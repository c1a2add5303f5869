//! Calls: functions over texts, lists, tables, windows and times.

use verdict_config::{Code, EvaluationVersion, FieldType, TimestampMs};

use super::calendar::is_calendar;
use super::{Checker, Typed, pattern, shown};
use crate::duration;
use crate::expression::{AtomKind, Condition, Constant, NameCall, Search, Term, Type};
use crate::resources::{unknown_name, window_result};
use crate::syntax::{Node, NodeKind, hints};
use crate::{FactNames, Slot, WindowFunction, WindowRead};

/// Every function, for messages.
const FUNCTIONS: [&str; 33] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "lower",
    "size",
    "has",
    "keywords",
    "listed",
    "name_match",
    "lookup",
    "window_count",
    "window_sum",
    "window_min",
    "window_max",
    "window_mean",
    "window_distinct",
    "timestamp",
    "duration",
    "int",
    "double",
    "decimal",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "getDayOfWeek",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
    "getMonth",
    "getFullYear",
    "date",
];

impl Checker<'_, '_> {
    pub(super) fn call(&mut self, node: &Node, name: &str, arguments: &[Node]) -> Option<Typed> {
        match (name, arguments) {
            ("has", [fact]) => self.has(node, fact),
            ("contains", [text, part]) => self.search(node, Search::Contains, (text, part)),
            ("startsWith", [text, part]) => self.search(node, Search::StartsWith, (text, part)),
            ("endsWith", [text, part]) => self.search(node, Search::EndsWith, (text, part)),
            ("matches", [text, pattern]) => self.matches(node, text, pattern),
            ("lower", [text]) => {
                let text = Box::new(self.text(text)?);
                let evaluation = self.builder.environment.limits.evaluation;
                Some(Typed::Term(Term::Lower(text, evaluation), Type::Text))
            }
            ("size", [of]) => self.size(of),
            ("keywords", [list, field]) => self.keywords(node, list, field),
            ("listed", [list, field]) => self.listed(node, list, field),
            ("name_match", [list, fields @ ..]) if (1..=3).contains(&fields.len()) => {
                self.name_match(list, fields)
            }
            ("lookup", [table, column, key]) => self.lookup(table, column, key),
            ("timestamp", [text]) => self.timestamp(text),
            ("duration", [text]) => {
                let milliseconds = self.duration_literal(text)?;
                Some(Typed::Term(Term::Constant(Constant::Int(milliseconds)), Type::Duration))
            }
            ("int", [number]) => self.convert(number, Type::Int),
            ("double", [number]) => self.convert(number, Type::Float),
            ("decimal", [number]) => self.convert(number, Type::Decimal),
            (name, arguments) if is_calendar(name) => self.calendar(node, name, arguments),
            _ => match WindowFunction::ALL.into_iter().find(|known| known.as_str() == name) {
                Some(function) => self.window(node, function, arguments).map(|read| {
                    let of = Type::of(read.result);
                    let slot = self.builder.window(read);
                    self.reads.push(slot);
                    Typed::Term(Term::Fact(slot, of), of)
                }),
                None => self.no_such_call(node, name, arguments.len()),
            },
        }
    }

    pub(super) fn no_such_call(&mut self, node: &Node, name: &str, count: usize) -> Option<Typed> {
        if let Some(usage) = usage(name) {
            let message = format!("{name} does not take {count} arguments: write {usage}");
            return self.type_fault(node, &message);
        }
        let message = match hints::for_function(name) {
            Some(hint) => format!("there is no function {name:?}; {hint}"),
            None => unknown_name("function", name, FUNCTIONS.into_iter()),
        };
        self.fault(Code::RuleSyntax, node, &message);
        None
    }

    fn has(&mut self, node: &Node, fact: &Node) -> Option<Typed> {
        let mark = self.reads.len();
        let slot = match &fact.kind {
            NodeKind::Name(name) if &**name == "as_of" && self.resolve(name).is_none() => {
                return Some(Typed::Condition(Condition::Constant(true)));
            }
            NodeKind::Name(_) => self.fact(fact)?.0,
            NodeKind::Call(..) => match self.check(fact, None)? {
                Typed::Term(Term::Fact(slot, _), _) => slot,
                _ => return self.type_fault(fact, "has takes a field or a window"),
            },
            _ => return self.type_fault(fact, "has takes a field or a window"),
        };
        self.reads.truncate(mark);
        self.reads.push(slot);
        Some(Typed::Condition(self.leaf(node, AtomKind::Has(slot), mark)))
    }

    fn resolve(&self, name: &str) -> Option<(Slot, FieldType)> {
        let environment = self.builder.environment;
        FactNames { schema: environment.schema, derived: environment.derived }.resolve(name)
    }

    /// A node that must name a fact.
    fn fact(&mut self, node: &Node) -> Option<(Slot, FieldType)> {
        let NodeKind::Name(name) = &node.kind else {
            let message = format!("expected a field's name, found {}", shown(node));
            return self.type_fault(node, &message);
        };
        let Some(found) = self.resolve(name) else {
            let environment = self.builder.environment;
            let names = FactNames { schema: environment.schema, derived: environment.derived };
            let message = unknown_name("field", name, names.names());
            self.fault(Code::RuleUnknownField, node, &message);
            return None;
        };
        self.reads.push(found.0);
        Some(found)
    }

    /// A node that must name a fact which is text, or a set of texts.
    fn texts_fact(&mut self, node: &Node) -> Option<Slot> {
        let resolved = match &node.kind {
            NodeKind::Name(name) => self.resolve(name),
            _ => None,
        };
        if !resolved.is_some_and(|(_, of)| of == FieldType::Set) {
            return self.text_fact(node);
        }
        if self.evaluates_by(EvaluationVersion::V2) {
            return self.fact(node).map(|(slot, _)| slot);
        }
        // A program of the version before refuses sets, so all nodes do until the version is raised.
        let message = format!(
            "{} is a set, which needs version 3 of the cluster, and the cluster runs at an older \
             one: start this program on every node, and the leader raises the version",
            shown(node)
        );
        self.type_fault(node, &message)
    }

    /// A node that must name a fact which is text.
    fn text_fact(&mut self, node: &Node) -> Option<Slot> {
        let (slot, field_type) = self.fact(node)?;
        if matches!(field_type, FieldType::Symbol | FieldType::String) {
            return Some(slot);
        }
        let message = format!("{} is {}, expected a text", shown(node), field_type.as_str());
        self.type_fault(node, &message)
    }

    /// A node that must be a text in quotes.
    fn literal<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let NodeKind::Text(text) = &node.kind {
            return Some(text);
        }
        self.type_fault(node, &format!("expected {what} in quotes, found {}", shown(node)))
    }

    fn text(&mut self, node: &Node) -> Option<Term> {
        match self.check(node, None)? {
            Typed::Term(term, Type::Text) => Some(term),
            other => {
                let of = other.type_of().as_str();
                self.type_fault(node, &format!("{} is {of}, expected a text", shown(node)))
            }
        }
    }

    pub(super) fn time(&mut self, node: &Node) -> Option<Term> {
        match self.check(node, None)? {
            Typed::Term(term, Type::Time) => Some(term),
            other => {
                let of = other.type_of().as_str();
                self.type_fault(node, &format!("{} is {of}, expected a time", shown(node)))
            }
        }
    }

    fn search(
        &mut self,
        node: &Node,
        search: Search,
        (text, part): (&Node, &Node),
    ) -> Option<Typed> {
        let mark = self.reads.len();
        let (text, part) = (self.text(text), self.text(part));
        let kind = AtomKind::Search(search, text?, part?);
        Some(Typed::Condition(self.leaf(node, kind, mark)))
    }

    fn matches(&mut self, node: &Node, text: &Node, pattern_node: &Node) -> Option<Typed> {
        let mark = self.reads.len();
        let text = self.text(text);
        let source = self.literal(pattern_node, "a pattern")?;
        let bytes_max = self.builder.environment.limits.pattern_bytes_max as usize;
        let evaluation = self.builder.environment.limits.evaluation;
        match pattern::build(source, bytes_max, evaluation) {
            Ok(pattern) => {
                let kind = AtomKind::Matches(text?, pattern);
                Some(Typed::Condition(self.leaf(node, kind, mark)))
            }
            Err(reason) => {
                let message = format!("the pattern is not valid: {reason}");
                self.fault(Code::RuleSyntax, pattern_node, &message);
                None
            }
        }
    }

    fn size(&mut self, of: &Node) -> Option<Typed> {
        let term = match self.check(of, None)? {
            Typed::Term(term, Type::Text) => Term::TextSize(Box::new(term)),
            Typed::Set(slot) => Term::SetSize(slot),
            other => {
                let kind = other.type_of().as_str();
                return self.type_fault(of, &format!("size takes a text or a set, not {kind}"));
            }
        };
        Some(Typed::Term(term, Type::Int))
    }

    fn no_list<T>(&mut self, node: &Node, name: &str) -> Option<T> {
        let known = self.builder.environment.lists.keys().map(String::as_str);
        let message = unknown_name("list", name, known);
        self.fault(Code::UnknownReference, node, &message);
        None
    }

    fn keywords(&mut self, node: &Node, list: &Node, field: &Node) -> Option<Typed> {
        let mark = self.reads.len();
        let slot = self.texts_fact(field);
        let name = self.literal(list, "a list's name")?;
        if !self.builder.environment.lists.contains_key(name) {
            return self.no_list(list, name);
        }
        let slot = slot?;
        let Some((id, scan)) = self.builder.keywords(name, slot) else {
            return self.no_list(list, name);
        };
        let kind = AtomKind::Keywords { list: id, scan, field: slot };
        Some(Typed::Condition(self.leaf(node, kind, mark)))
    }

    fn listed(&mut self, node: &Node, list: &Node, field: &Node) -> Option<Typed> {
        let mark = self.reads.len();
        let is_field = matches!(field.kind, NodeKind::Name(_));
        let asked = if is_field || !self.evaluates_by(EvaluationVersion::V2) {
            self.texts_fact(field).map(Ok)
        } else {
            self.text(field).map(Err)
        };
        let name = self.literal(list, "a list's name")?;
        let Some(id) = self.builder.codes(name) else {
            return self.no_list(list, name);
        };
        let kind = match asked? {
            Ok(field) => AtomKind::Listed { list: id?, field },
            Err(text) => AtomKind::ListedText { list: id?, text },
        };
        Some(Typed::Condition(self.leaf(node, kind, mark)))
    }

    fn name_match(&mut self, list: &Node, fields: &[Node]) -> Option<Typed> {
        let slots: Vec<Option<Slot>> = fields
            .iter()
            .enumerate()
            .map(|(at, field)| if at == 0 { self.texts_fact(field) } else { self.text_fact(field) })
            .collect();
        let name = self.literal(list, "a list's name")?;
        let Some(id) = self.builder.names(name) else {
            return self.no_list(list, name);
        };
        let slots: Vec<Slot> = slots.into_iter().collect::<Option<_>>()?;
        let call = NameCall {
            list: id?,
            name: *slots.first()?,
            country: slots.get(1).copied(),
            identifier: slots.get(2).copied(),
        };
        Some(Typed::Term(Term::NameScore(self.builder.name_call(call)), Type::Float))
    }

    fn lookup(&mut self, table: &Node, column: &Node, key: &Node) -> Option<Typed> {
        let key = self.text(key);
        let column_name = self.literal(column, "a column's name");
        let name = self.literal(table, "a table's name")?;
        let Some(id) = self.builder.lookup(name) else {
            let known = self.builder.environment.tables.keys().map(String::as_str);
            let message = unknown_name("table", name, known);
            self.fault(Code::UnknownReference, table, &message);
            return None;
        };
        let (id, column_name) = (id?, column_name?);
        let position = self.builder.built.lookups.get(id as usize)?.1.column(column_name);
        let Some(position) = position else {
            let columns = &self.builder.environment.tables.get(name)?.columns;
            let message = unknown_name("column", column_name, columns.iter().map(String::as_str));
            self.fault(Code::UnknownReference, column, &message);
            return None;
        };
        let term = Term::Lookup { table: id, column: position, key: Box::new(key?) };
        Some(Typed::Term(term, Type::Text))
    }

    fn timestamp(&mut self, node: &Node) -> Option<Typed> {
        let text = self.literal(node, "a time")?;
        match TimestampMs::parse(text) {
            Ok(at) => Some(Typed::Term(Term::Constant(Constant::Int(at.0)), Type::Time)),
            Err(message) => self.type_fault(node, &message),
        }
    }

    fn duration_literal(&mut self, node: &Node) -> Option<i64> {
        let text = self.literal(node, "a duration")?;
        match duration::parse_ms(text) {
            Some(milliseconds) => Some(milliseconds),
            None => {
                let message = format!(
                    "{text:?} is no duration; write it like \"30s\", \"5m\", \"24h\" or \"7d\""
                );
                self.type_fault(node, &message)
            }
        }
    }

    fn convert(&mut self, node: &Node, to: Type) -> Option<Typed> {
        let hint = Some(to).filter(|to| *to != Type::Int);
        match self.check(node, hint)? {
            Typed::Term(term, of) if of == to => Some(Typed::Term(term, to)),
            Typed::Term(term, of) if of.is_number() => {
                Some(Typed::Term(Term::Convert(to, Box::new(term)), to))
            }
            other => {
                let of = other.type_of().as_str();
                self.type_fault(node, &format!("{} is {of} and no number", shown(node)))
            }
        }
    }

    /// Reads a call of a window function.
    pub(crate) fn window(
        &mut self,
        node: &Node,
        function: WindowFunction,
        arguments: &[Node],
    ) -> Option<WindowRead> {
        let mark = self.reads.len();
        let (length, key, value) = match (function, arguments) {
            (WindowFunction::Count, [length, key]) => (length, key, None),
            (WindowFunction::Count, _) | (_, [] | [_] | [_, _]) => {
                return self.window_usage(node, function, arguments.len());
            }
            (_, [length, key, value]) => (length, key, Some(value)),
            _ => return self.window_usage(node, function, arguments.len()),
        };
        let window_ms = self.window_ms(length);
        let key_field = self.fact(key);
        let value_field = value.map(|value| self.fact(value));
        // A window's value is a fact of its own: what it is computed from is not read here.
        self.reads.truncate(mark);
        let (window_ms, key_field) = (window_ms?, key_field?);
        if self.is_derived(key_field.0)
            || value_field.flatten().is_some_and(|v| self.is_derived(v.0))
        {
            return self.type_fault(node, "windows count input fields, not what stages derive");
        }
        if key_field.1 == FieldType::Set {
            return self.type_fault(key, "a set cannot be the key of a window");
        }
        let value_field = match value_field {
            Some(found) => Some(found?),
            None => None,
        };
        if let (Some(value), Some((_, of))) = (value, value_field) {
            let number = Type::of(of).is_number();
            if !number && function != WindowFunction::Distinct {
                let message = format!("{} is {}, expected a number", shown(value), of.as_str());
                return self.type_fault(value, &message);
            }
        }
        let length = duration::canonical(window_ms);
        let text = match value {
            None => format!("{}(\"{length}\", {key})", function.as_str()),
            Some(value) => format!("{}(\"{length}\", {key}, {value})", function.as_str()),
        };
        Some(WindowRead {
            function,
            window_ms,
            key_field: key_field.0,
            value_field: value_field.map(|(slot, _)| slot),
            result: window_result(function, value_field.map(|(_, of)| of)),
            text,
        })
    }

    fn is_derived(&self, slot: Slot) -> bool {
        (self.builder.built.derived_from..self.builder.built.windows_from).contains(&slot)
    }

    fn window_ms(&mut self, node: &Node) -> Option<u64> {
        let milliseconds = self.duration_literal(node)?;
        let length = u64::try_from(milliseconds).unwrap_or(0);
        if (1_000..=crate::window::WINDOW_MS_MAX).contains(&length) {
            return Some(length);
        }
        self.type_fault(node, "a window is 1 second to 90 days long")
    }

    fn window_usage(
        &mut self,
        node: &Node,
        function: WindowFunction,
        count: usize,
    ) -> Option<WindowRead> {
        let usage = usage(function.as_str()).unwrap_or_default();
        let name = function.as_str();
        self.type_fault(node, &format!("{name} does not take {count} arguments: write {usage}"))
    }
}

/// How a function is called.
fn usage(name: &str) -> Option<&'static str> {
    Some(match name {
        "has" => "has(field)",
        "contains" => "contains(text, part)",
        "startsWith" => "startsWith(text, start)",
        "endsWith" => "endsWith(text, end)",
        "matches" => "matches(text, r\"pattern\")",
        "lower" => "lower(text)",
        "size" => "size(text or set)",
        "keywords" => "keywords(\"list\", field)",
        "listed" => "listed(\"list\", field) or listed(\"list\", as_of.date(\"Europe/Berlin\"))",
        "name_match" => "name_match(\"list\", field, country_field, identifier_field)",
        "lookup" => "lookup(\"table\", \"column\", key)",
        "timestamp" => "timestamp(\"2026-01-31T12:00:00Z\")",
        "duration" => "duration(\"24h\")",
        "int" => "int(number)",
        "double" => "double(number)",
        "decimal" => "decimal(number)",
        "getHours" => "time.getHours() or time.getHours(\"Europe/Berlin\")",
        "getMinutes" => "time.getMinutes() or time.getMinutes(\"Asia/Kolkata\")",
        "getSeconds" => "time.getSeconds()",
        "getMilliseconds" => "time.getMilliseconds()",
        "getDayOfWeek" => "time.getDayOfWeek() or time.getDayOfWeek(\"Europe/Berlin\")",
        "getDate" => "time.getDate() or time.getDate(\"Europe/Berlin\")",
        "getDayOfMonth" => "time.getDayOfMonth() or time.getDayOfMonth(\"Europe/Berlin\")",
        "getDayOfYear" => "time.getDayOfYear() or time.getDayOfYear(\"Europe/Berlin\")",
        "getMonth" => "time.getMonth() or time.getMonth(\"Europe/Berlin\")",
        "getFullYear" => "time.getFullYear() or time.getFullYear(\"Europe/Berlin\")",
        "date" => "time.date() or time.date(\"Europe/Berlin\")",
        "window_count" => "window_count(\"24h\", key)",
        "window_sum" => "window_sum(\"24h\", key, amount)",
        "window_min" => "window_min(\"24h\", key, amount)",
        "window_max" => "window_max(\"24h\", key, amount)",
        "window_mean" => "window_mean(\"24h\", key, amount)",
        "window_distinct" => "window_distinct(\"24h\", key, field)",
        _ => return None,
    })
}
