//! Generated expressions: as trees, as text in our language and CEL's, and evaluated naively.

use proptest::prelude::*;
use rust_decimal::Decimal;

/// Facts, absent ones included.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub count: Option<i64>,
    pub limit: Option<i64>,
    pub amount: Option<Decimal>,
    pub average: Option<Decimal>,
    pub ratio: Option<f64>,
    pub active: Option<bool>,
    pub verified: Option<bool>,
    pub country: Option<String>,
    pub card_id: Option<String>,
    pub tags: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub enum Bool {
    Constant(bool),
    Field(&'static str),
    Has(&'static str),
    Not(Box<Bool>),
    And(Vec<Bool>),
    Or(Vec<Bool>),
    If(Box<[Bool; 3]>),
    Same(Box<[Bool; 2]>, bool),
    Ints(&'static str, Number<i64>, Number<i64>),
    Floats(&'static str, Number<f64>, Number<f64>),
    Decimals(&'static str, Number<Decimal>, Number<Decimal>),
    /// An int field against a literal with a fraction.
    Fraction(&'static str, &'static str, f64),
    IntIn(Number<i64>, Vec<i64>),
    Texts(&'static str, &'static str, Text),
    TextIn(&'static str, Vec<&'static str>),
    InTags(Text),
    Search(&'static str, Text, Text),
}

#[derive(Debug, Clone)]
pub enum Number<T> {
    Literal(T),
    Field(&'static str),
    Negate(Box<Number<T>>),
    Arithmetic(&'static str, Box<[Number<T>; 2]>),
    If(Box<Bool>, Box<[Number<T>; 2]>),
    /// Characters of a text field.
    Size(&'static str),
}

#[derive(Debug, Clone)]
pub enum Text {
    Literal(&'static str),
    Field(&'static str),
}

const TEXTS: [&str; 6] = ["", "a", "b", "ab", "GB", "GB-1"];
const RELATIONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const FIELDS: [&str; 8] =
    ["count", "limit", "ratio", "active", "verified", "country", "card_id", "tags"];

pub fn record(with_absent: bool) -> impl Strategy<Value = Record> {
    fn maybe<T: std::fmt::Debug + Clone + 'static>(
        value: impl Strategy<Value = T> + 'static,
        with_absent: bool,
    ) -> BoxedStrategy<Option<T>> {
        if with_absent {
            prop::option::weighted(0.7, value).boxed()
        } else {
            value.prop_map(Some).boxed()
        }
    }
    let int = || prop_oneof![8 => -3i64..8, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let decimal = || (-50i64..150, 0u32..3).prop_map(|(n, scale)| Decimal::new(n, scale));
    let text = || prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned);
    let numbers = (
        maybe(int(), with_absent),
        maybe(int(), with_absent),
        maybe(decimal(), with_absent),
        maybe(decimal(), with_absent),
        maybe(prop_oneof![8 => -2.0f64..6.0, 1 => Just(0.0), 1 => Just(1e308)], with_absent),
    );
    let others = (
        maybe(any::<bool>(), with_absent),
        maybe(any::<bool>(), with_absent),
        maybe(text(), with_absent),
        maybe(text(), with_absent),
        maybe(prop::collection::vec(text(), 0..3), with_absent),
    );
    (numbers, others).prop_map(|(numbers, others)| Record {
        count: numbers.0,
        limit: numbers.1,
        amount: numbers.2,
        average: numbers.3,
        ratio: numbers.4,
        active: others.0,
        verified: others.1,
        country: others.2,
        card_id: others.3,
        tags: others.4,
    })
}

fn number<T: std::fmt::Debug + Clone + 'static>(
    literal: impl Strategy<Value = T> + 'static,
    fields: Vec<&'static str>,
    modulo: bool,
) -> BoxedStrategy<Number<T>> {
    let mut operators = vec!["+", "-", "*", "/"];
    if modulo {
        operators.push("%");
    }
    let leaf = prop_oneof![
        2 => literal.prop_map(Number::Literal),
        4 => prop::sample::select(fields).prop_map(Number::Field),
    ];
    leaf.prop_recursive(2, 6, 2, move |inner| {
        let operators = operators.clone();
        prop_oneof![
            inner.clone().prop_map(|inner| Number::Negate(Box::new(inner))),
            (prop::sample::select(operators), inner.clone(), inner.clone())
                .prop_map(|(operator, a, b)| Number::Arithmetic(operator, Box::new([a, b]))),
            (simple_bool(), inner.clone(), inner)
                .prop_map(|(c, a, b)| Number::If(Box::new(c), Box::new([a, b]))),
        ]
    })
    .boxed()
}

fn simple_bool() -> impl Strategy<Value = Bool> {
    prop_oneof![
        Just(Bool::Field("active")),
        Just(Bool::Field("verified")),
        prop::sample::select(FIELDS.to_vec()).prop_map(Bool::Has),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        prop::sample::select(TEXTS.to_vec()).prop_map(Text::Literal),
        prop::sample::select(vec!["country", "card_id"]).prop_map(Text::Field),
    ]
}

fn relation() -> impl Strategy<Value = &'static str> {
    prop::sample::select(RELATIONS.to_vec())
}

fn ints() -> BoxedStrategy<Number<i64>> {
    let size = prop::sample::select(vec!["country", "card_id"]).prop_map(Number::Size);
    prop_oneof![8 => number(-3i64..8, vec!["count", "limit"], true), 1 => size].boxed()
}

fn leaf(decimals: bool) -> BoxedStrategy<Bool> {
    let floats = || number((-4i32..20).prop_map(|n| f64::from(n) / 4.0), vec!["ratio"], false);
    let text_field = || prop::sample::select(vec!["country", "card_id"]);
    let common = prop_oneof![
        1 => any::<bool>().prop_map(Bool::Constant),
        4 => simple_bool(),
        6 => (relation(), prop::sample::select(vec!["count", "limit"]), -3i64..8)
            .prop_map(|(r, field, n)| Bool::Ints(r, Number::Field(field), Number::Literal(n))),
        4 => (relation(), ints(), ints()).prop_map(|(r, a, b)| Bool::Ints(r, a, b)),
        3 => (relation(), floats(), floats()).prop_map(|(r, a, b)| Bool::Floats(r, a, b)),
        2 => (relation(), prop::sample::select(vec!["count", "limit"]), -8i32..20)
            .prop_map(|(r, field, n)| Bool::Fraction(r, field, f64::from(n) / 4.0 + 0.125)),
        2 => (ints(), prop::collection::vec(-3i64..8, 0..4)).prop_map(|(n, all)| Bool::IntIn(n, all)),
        4 => (relation(), text_field(), text()).prop_map(|(r, a, b)| Bool::Texts(r, a, b)),
        4 => (text_field(), prop::collection::vec(prop::sample::select(TEXTS.to_vec()), 0..4))
            .prop_map(|(field, all)| Bool::TextIn(field, all)),
        3 => text().prop_map(Bool::InTags),
        2 => (prop::sample::select(vec!["contains", "startsWith", "endsWith"]), text(), text())
            .prop_map(|(f, a, b)| Bool::Search(f, a, b)),
    ];
    if !decimals {
        return common.boxed();
    }
    let literal = || (-50i64..150).prop_map(|n| Decimal::new(n, 1));
    let tree = move || number(literal(), vec!["amount", "average"], false);
    // A field on one side, so that the literals of the other are decimals too.
    let field = prop::sample::select(vec!["amount", "average"]).prop_map(Number::Field);
    let exact = (relation(), field, tree()).prop_map(|(r, a, b)| Bool::Decimals(r, a, b));
    prop_oneof![6 => common, 1 => exact].boxed()
}

pub fn bool_expression(decimals: bool) -> impl Strategy<Value = Bool> {
    leaf(decimals).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|inner| Bool::Not(Box::new(inner))),
            5 => prop::collection::vec(inner.clone(), 2..5).prop_map(Bool::And),
            4 => prop::collection::vec(inner.clone(), 2..5).prop_map(Bool::Or),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| Bool::If(Box::new([a, b, c]))),
            1 => (inner.clone(), inner, any::<bool>())
                .prop_map(|(a, b, same)| Bool::Same(Box::new([a, b]), same)),
        ]
    })
}

impl Bool {
    /// The expression as text, every field behind a prefix.
    pub fn render(&self, prefix: &str) -> String {
        let joined = |parts: &[Bool], between: &str| {
            let parts: Vec<String> = parts.iter().map(|part| part.render(prefix)).collect();
            format!("({})", parts.join(between))
        };
        let texts = |all: &[&str]| format!("{all:?}");
        match self {
            Self::Constant(value) => value.to_string(),
            Self::Field(field) => format!("{prefix}{field}"),
            Self::Has(field) => format!("has({prefix}{field})"),
            Self::Not(inner) => format!("!({})", inner.render(prefix)),
            Self::And(parts) => joined(parts, " && "),
            Self::Or(parts) => joined(parts, " || "),
            Self::If(parts) => format!(
                "(({}) ? ({}) : ({}))",
                parts[0].render(prefix),
                parts[1].render(prefix),
                parts[2].render(prefix)
            ),
            Self::Same(parts, same) => format!(
                "(({}) {} ({}))",
                parts[0].render(prefix),
                if *same { "==" } else { "!=" },
                parts[1].render(prefix)
            ),
            Self::Ints(r, a, b) => format!("({} {r} {})", a.render(prefix), b.render(prefix)),
            Self::Floats(r, a, b) => format!("({} {r} {})", a.render(prefix), b.render(prefix)),
            Self::Decimals(r, a, b) => format!("({} {r} {})", a.render(prefix), b.render(prefix)),
            Self::Fraction(r, field, number) => format!("({prefix}{field} {r} {number:?})"),
            Self::IntIn(number, all) => format!("({} in {all:?})", number.render(prefix)),
            Self::Texts(r, field, text) => format!("({prefix}{field} {r} {})", text.render(prefix)),
            Self::TextIn(field, all) => format!("({prefix}{field} in {})", texts(all)),
            Self::InTags(text) => format!("({} in {prefix}tags)", text.render(prefix)),
            Self::Search(function, text, part) => {
                format!("{}.{function}({})", text.render(prefix), part.render(prefix))
            }
        }
    }

    /// Kleene's logic, term by term; `None` is unknown.
    pub fn evaluate(&self, record: &Record) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Field("active") => record.active,
            Self::Field(_) => record.verified,
            Self::Has(field) => Some(match *field {
                "count" => record.count.is_some(),
                "limit" => record.limit.is_some(),
                "ratio" => record.ratio.is_some(),
                "active" => record.active.is_some(),
                "verified" => record.verified.is_some(),
                "country" => record.country.is_some(),
                "card_id" => record.card_id.is_some(),
                _ => record.tags.is_some(),
            }),
            Self::Not(inner) => inner.evaluate(record).map(|value| !value),
            Self::And(parts) => join(parts, record, false),
            Self::Or(parts) => join(parts, record, true),
            Self::If(parts) => {
                let [condition, a, b] = &**parts;
                choose(condition.evaluate(record), a.evaluate(record), b.evaluate(record))
            }
            Self::Same(parts, same) => {
                let equal = parts[0].evaluate(record)? == parts[1].evaluate(record)?;
                Some(equal == *same)
            }
            Self::Ints(r, a, b) => Some(holds(r, &a.ints(record)?, &b.ints(record)?)),
            Self::Floats(r, a, b) => Some(holds(r, &a.floats(record)?, &b.floats(record)?)),
            Self::Decimals(r, a, b) => Some(holds(r, &a.decimals(record)?, &b.decimals(record)?)),
            Self::Fraction(r, field, number) => {
                let field = if *field == "count" { record.count } else { record.limit };
                Some(holds(r, &(field? as f64), number))
            }
            Self::IntIn(number, all) => Some(all.contains(&number.ints(record)?)),
            Self::Texts(r, field, text) => {
                Some(holds(r, &Text::Field(field).evaluate(record)?, &text.evaluate(record)?))
            }
            Self::TextIn(field, all) => {
                Some(all.contains(&Text::Field(field).evaluate(record)?.as_str()))
            }
            Self::InTags(text) => {
                let text = text.evaluate(record)?;
                record.tags.as_ref().map(|tags| tags.contains(&text))
            }
            Self::Search(function, text, part) => {
                let (text, part) = (text.evaluate(record)?, part.evaluate(record)?);
                Some(match *function {
                    "contains" => text.contains(&part),
                    "startsWith" => text.starts_with(&part),
                    _ => text.ends_with(&part),
                })
            }
        }
    }
}

fn join(parts: &[Bool], record: &Record, decisive: bool) -> Option<bool> {
    let values: Vec<Option<bool>> = parts.iter().map(|part| part.evaluate(record)).collect();
    if values.contains(&Some(decisive)) {
        Some(decisive)
    } else if values.contains(&None) {
        None
    } else {
        Some(!decisive)
    }
}

fn choose<T: PartialEq>(condition: Option<bool>, a: Option<T>, b: Option<T>) -> Option<T> {
    match condition {
        Some(true) => a,
        Some(false) => b,
        None if a == b => a,
        None => None,
    }
}

fn holds<T: PartialOrd>(relation: &str, a: &T, b: &T) -> bool {
    match relation {
        "==" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    }
}

impl<T: RenderLiteral> Number<T> {
    fn render(&self, prefix: &str) -> String {
        match self {
            Self::Literal(literal) => literal.render(),
            Self::Field(field) => format!("{prefix}{field}"),
            Self::Negate(inner) => format!("-({})", inner.render(prefix)),
            Self::Arithmetic(operator, operands) => {
                format!(
                    "({} {operator} {})",
                    operands[0].render(prefix),
                    operands[1].render(prefix)
                )
            }
            Self::If(condition, branches) => format!(
                "(({}) ? {} : {})",
                condition.render(prefix),
                branches[0].render(prefix),
                branches[1].render(prefix)
            ),
            Self::Size(field) => format!("size({prefix}{field})"),
        }
    }
}

pub trait RenderLiteral {
    fn render(&self) -> String;
}

impl RenderLiteral for i64 {
    fn render(&self) -> String {
        format!("({self})")
    }
}

impl RenderLiteral for f64 {
    fn render(&self) -> String {
        format!("({self:?})")
    }
}

impl RenderLiteral for Decimal {
    fn render(&self) -> String {
        format!("({self})")
    }
}

impl<T> Number<T> {
    fn fold<V: PartialEq + Copy>(
        &self,
        record: &Record,
        leaf: &dyn Fn(&Number<T>) -> Option<V>,
        apply: &dyn Fn(&str, V, V) -> Option<V>,
        negate: &dyn Fn(V) -> Option<V>,
    ) -> Option<V> {
        match self {
            Self::Literal(_) | Self::Field(_) | Self::Size(_) => leaf(self),
            Self::Negate(inner) => negate(inner.fold(record, leaf, apply, negate)?),
            Self::Arithmetic(operator, operands) => apply(
                operator,
                operands[0].fold(record, leaf, apply, negate)?,
                operands[1].fold(record, leaf, apply, negate)?,
            ),
            Self::If(condition, branches) => choose(
                condition.evaluate(record),
                branches[0].fold(record, leaf, apply, negate),
                branches[1].fold(record, leaf, apply, negate),
            ),
        }
    }
}

impl Number<i64> {
    fn ints(&self, record: &Record) -> Option<i64> {
        let leaf = |leaf: &Number<i64>| match leaf {
            Number::Literal(number) => Some(*number),
            Number::Field("count") => record.count,
            Number::Field(_) => record.limit,
            Number::Size(field) => {
                Text::Field(field).evaluate(record).map(|text| text.chars().count() as i64)
            }
            _ => None,
        };
        let apply = |operator: &str, a: i64, b: i64| match operator {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            "/" => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        self.fold(record, &leaf, &apply, &i64::checked_neg)
    }
}

impl Number<f64> {
    fn floats(&self, record: &Record) -> Option<f64> {
        let leaf = |leaf: &Number<f64>| match leaf {
            Number::Literal(number) => Some(*number),
            Number::Field(_) => record.ratio,
            _ => None,
        };
        let apply = |operator: &str, a: f64, b: f64| {
            let value = match operator {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                _ => a / b,
            };
            value.is_finite().then_some(value)
        };
        self.fold(record, &leaf, &apply, &|value| Some(-value))
    }
}

impl Number<Decimal> {
    fn decimals(&self, record: &Record) -> Option<Decimal> {
        let leaf = |leaf: &Number<Decimal>| match leaf {
            Number::Literal(number) => Some(*number),
            Number::Field("amount") => record.amount,
            Number::Field(_) => record.average,
            _ => None,
        };
        let apply = |operator: &str, a: Decimal, b: Decimal| match operator {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            _ => a.checked_div(b),
        };
        self.fold(record, &leaf, &apply, &|value| Some(-value))
    }
}

impl Text {
    fn render(&self, prefix: &str) -> String {
        match self {
            Self::Literal(text) => format!("{text:?}"),
            Self::Field(field) => format!("{prefix}{field}"),
        }
    }

    fn evaluate(&self, record: &Record) -> Option<String> {
        match self {
            Self::Literal(text) => Some((*text).to_owned()),
            Self::Field("country") => record.country.clone(),
            Self::Field(_) => record.card_id.clone(),
        }
    }
}
