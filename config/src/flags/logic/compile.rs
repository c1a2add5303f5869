//! From JSON to the typed tree.
//!
//! Compilation is lenient where JsonLogic is (numbers of arguments, arguments without brackets);
//! the strict form that flags are written in is checked before, by the targeting schema.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Logic;
use super::datum::{Datum, segments};
use super::node::{Arithmetic, Comparison, Each, Node, VersionTest};
use crate::flags::fractional::{Bucket, HashVersion, Split, Weight, weight_of};
use crate::flags::trail::Trail;
use crate::flags::version::Version;
use crate::{Code, Fault, Faults, OrderedMap};

/// The deepest nesting of operations and lists in a rule.
pub const LOGIC_DEPTH_MAX: usize = 64;

/// The most operations and literals in a rule, what it refers to included.
pub const LOGIC_NODES_MAX: usize = 50_000;

/// Literal lists of at least this many texts are looked up by hash.
const HASHED_TEXTS_MIN: usize = 9;

/// A shared condition, compiled.
#[derive(Debug, Clone)]
pub struct Shared {
    node: Arc<Node>,
    reads_time: bool,
}

/// Shared conditions by name. One tree per hash version, because a `fractional` in a condition
/// follows the flag that uses it.
pub type References = OrderedMap<(Arc<str>, HashVersion), Shared>;

/// How a rule is compiled.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompileOptions<'o> {
    /// How `fractional` hashes.
    pub hash_version: HashVersion,
    /// What `$ref` finds, the first map that has the name.
    pub references: &'o [&'o References],
    /// Where the rule stands, for faults.
    pub place: &'o str,
    /// Whether an unknown operator is an error of the evaluation, as in flagd, and no fault.
    pub lenient: bool,
}

impl Logic {
    pub(in crate::flags) fn compile_with(
        rule: &Json,
        options: &CompileOptions<'_>,
    ) -> Result<Self, Faults> {
        let mut compiler = Compiler {
            options: *options,
            nodes: 0,
            reads_time: false,
            splits: false,
            named: Vec::new(),
            unresolved: Vec::new(),
            faults: Vec::new(),
        };
        let root = compiler.node(rule, &Trail::start(options.place), 0);
        if compiler.faults.is_empty() {
            let Compiler { reads_time, splits, named, unresolved, .. } = compiler;
            Ok(Self {
                root,
                reads_time,
                splits,
                named: named.into(),
                unresolved: unresolved.into(),
            })
        } else {
            Err(compiler.faults)
        }
    }

    /// The compiled rule as something that `$ref` finds.
    pub(in crate::flags) fn into_shared(self) -> Shared {
        Shared { node: Arc::new(self.root), reads_time: self.reads_time }
    }
}

impl Shared {
    /// The condition.
    pub(in crate::flags) fn node(&self) -> &Node {
        &self.node
    }

    /// Whether it can depend on `$flagd.timestamp`.
    pub(in crate::flags) const fn reads_time(&self) -> bool {
        self.reads_time
    }
}

struct Compiler<'o> {
    options: CompileOptions<'o>,
    nodes: usize,
    reads_time: bool,
    splits: bool,
    named: Vec<Box<str>>,
    unresolved: Vec<Box<str>>,
    faults: Faults,
}

impl Compiler<'_> {
    fn fault(&mut self, code: Code, trail: &Trail<'_>, message: String) -> Node {
        self.faults.push(Fault::new(code, trail.to_string(), message));
        Node::Constant(Json::Null)
    }

    fn node(&mut self, rule: &Json, trail: &Trail<'_>, depth: usize) -> Node {
        self.nodes += 1;
        if depth > LOGIC_DEPTH_MAX {
            let message = format!("rules nest at most {LOGIC_DEPTH_MAX} levels");
            return self.fault(Code::LimitExceeded, trail, message);
        }
        if self.nodes > LOGIC_NODES_MAX {
            if self.nodes == LOGIC_NODES_MAX + 1 {
                let message = format!("a rule has at most {LOGIC_NODES_MAX} operations and values");
                return self.fault(Code::LimitExceeded, trail, message);
            }
            return Node::Constant(Json::Null);
        }
        match rule {
            Json::Array(items) if items.iter().any(is_computed) => {
                Node::List(self.nodes(items, trail, depth))
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Node::Constant(rule.clone())
            }
            Json::Array(items) => {
                self.nodes = self.nodes.saturating_add(items.len());
                Node::Constant(rule.clone())
            }
            Json::Object(fields) => {
                let mut entries = fields.iter();
                match (entries.next(), entries.next()) {
                    (Some((operator, arguments)), None) => {
                        self.operation(operator, arguments, trail, depth)
                    }
                    _ => {
                        let message = "an operation is an object with exactly one operator";
                        self.fault(Code::FlagInvalid, trail, message.to_owned())
                    }
                }
            }
        }
    }

    fn nodes(&mut self, items: &[Json], trail: &Trail<'_>, depth: usize) -> Box<[Node]> {
        items
            .iter()
            .enumerate()
            .map(|(index, item)| self.node(item, &trail.at(index), depth + 1))
            .collect()
    }

    fn operation(
        &mut self,
        operator: &str,
        arguments: &Json,
        trail: &Trail<'_>,
        depth: usize,
    ) -> Node {
        let trail = trail.key(operator);
        let items: &[Json] = match arguments {
            Json::Array(items) => items,
            other => std::slice::from_ref(other),
        };
        match operator {
            "$ref" => return self.reference(arguments, &trail),
            "var" => return self.variable(items, &trail, depth),
            "fractional" => return self.fractional(arguments, &trail, depth),
            "sem_ver" => return self.version(items, &trail, depth),
            "in" => return self.membership(items, &trail, depth),
            _ => {}
        }
        // `missing` and `merge` of one computed list take it as it is.
        let nodes = self.nodes(items, &trail, depth);
        match operator {
            "missing" => Node::Missing(nodes),
            "missing_some" => Node::MissingSome(fixed(nodes)),
            "if" | "?:" => Node::If(nodes),
            "and" => Node::And(nodes),
            "or" => Node::Or(nodes),
            "!" | "!!" => {
                let [item] = *fixed::<1>(nodes);
                Node::Truth(Box::new(item), operator == "!")
            }
            "==" | "===" | "!=" | "!==" => Node::Equal {
                strict: operator.len() == 3,
                negated: operator.starts_with('!'),
                sides: fixed(nodes),
            },
            "<" => Node::Order(Comparison::Less, at_most(nodes, 3)),
            "<=" => Node::Order(Comparison::LessOrEqual, at_most(nodes, 3)),
            ">" => Node::Order(Comparison::Greater, at_most(nodes, 2)),
            ">=" => Node::Order(Comparison::GreaterOrEqual, at_most(nodes, 2)),
            "+" => Node::Arithmetic(Arithmetic::Add, nodes),
            "*" => Node::Arithmetic(Arithmetic::Multiply, nodes),
            "-" => Node::Arithmetic(Arithmetic::Subtract, at_most(nodes, 2)),
            "/" => Node::Arithmetic(Arithmetic::Divide, at_most(nodes, 2)),
            "%" => Node::Arithmetic(Arithmetic::Remainder, at_most(nodes, 2)),
            "min" => Node::Arithmetic(Arithmetic::Minimum, nodes),
            "max" => Node::Arithmetic(Arithmetic::Maximum, nodes),
            "cat" => Node::Cat(nodes),
            "substr" => Node::Substring(nodes),
            "merge" => Node::Merge(nodes),
            "map" => Node::Each(Each::Map, fixed(nodes)),
            "filter" => Node::Each(Each::Filter, fixed(nodes)),
            "all" => Node::Each(Each::All, fixed(nodes)),
            "some" => Node::Each(Each::Some, fixed(nodes)),
            "none" => Node::Each(Each::None, fixed(nodes)),
            "reduce" => Node::Reduce(fixed(nodes)),
            "starts_with" => Node::Affix(true, nodes),
            "ends_with" => Node::Affix(false, nodes),
            _ if self.options.lenient => Node::Unresolved(operator.into()),
            _ => {
                let message = format!("{operator:?} is no operator");
                self.fault(Code::FlagInvalid, &trail, message)
            }
        }
    }

    fn reference(&mut self, name: &Json, trail: &Trail<'_>) -> Node {
        let Some(name) = name.as_str() else {
            let message = "$ref takes the name of an evaluator or segment".to_owned();
            return self.fault(Code::FlagInvalid, trail, message);
        };
        self.named.push(name.into());
        let wanted = (Arc::from(name), self.options.hash_version);
        let found = self.options.references.iter().find_map(|references| references.get(&wanted));
        if let Some(shared) = found {
            self.reads_time |= shared.reads_time;
            return Node::Shared(Arc::clone(&shared.node));
        }
        self.unresolved.push(name.into());
        Node::Unresolved(name.into())
    }

    fn variable(&mut self, items: &[Json], trail: &Trail<'_>, depth: usize) -> Node {
        let default =
            items.get(1).map(|default| Box::new(self.node(default, &trail.at(1), depth + 1)));
        let path = match items.first() {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(path)) => path.clone(),
            Some(Json::Number(number)) => number.to_string(),
            Some(computed) => {
                self.reads_time = true;
                let path = Box::new(self.node(computed, &trail.at(0), depth + 1));
                return Node::VarComputed { path, default };
            }
        };
        match path.as_str() {
            "$flagd.flagKey" => Node::FlagKey,
            "$flagd.timestamp" => {
                self.reads_time = true;
                Node::Timestamp
            }
            _ => {
                self.reads_time |= path.is_empty() || path == "$flagd";
                Node::Var { path: segments(&path), default }
            }
        }
    }

    fn membership(&mut self, items: &[Json], trail: &Trail<'_>, depth: usize) -> Node {
        if let [item, Json::Array(texts)] = items
            && texts.len() >= HASHED_TEXTS_MIN
            && texts.iter().all(Json::is_string)
        {
            self.nodes = self.nodes.saturating_add(texts.len());
            let texts = texts.iter().filter_map(Json::as_str).map(Into::into).collect();
            let item = self.node(item, &trail.at(0), depth + 1);
            return Node::InTexts(Box::new(item), texts);
        }
        Node::In(fixed(self.nodes(items, trail, depth)))
    }

    fn version(&mut self, items: &[Json], trail: &Trail<'_>, depth: usize) -> Node {
        let literal = items.get(2).and_then(Json::as_str).and_then(Version::parse);
        let arguments = self.nodes(items, trail, depth);
        Node::Version(Box::new(VersionTest { arguments, literal }))
    }

    fn fractional(&mut self, arguments: &Json, trail: &Trail<'_>, depth: usize) -> Node {
        let items: &[Json] = arguments.as_array().map_or(&[], Vec::as_slice);
        let (key, buckets, first) = match items.split_first() {
            None => (None, items, 0),
            Some((Json::Array(_), _)) => (None, items, 0),
            Some((key, rest)) => (Some(self.node(key, &trail.at(0), depth + 1)), rest, 1),
        };
        let buckets: Option<Box<[Bucket]>> = buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| self.bucket(bucket, &trail.at(index + first), depth + 1))
            .collect();
        let version = self.options.hash_version;
        self.splits = true;
        Node::Fractional(Box::new(Split { version, key, buckets }))
    }

    /// A bucket; none if it is malformed, which makes the whole operation null.
    fn bucket(&mut self, bucket: &Json, trail: &Trail<'_>, depth: usize) -> Option<Bucket> {
        let parts = bucket.as_array()?;
        let (variant, weight) = match parts.as_slice() {
            [variant] => (variant, None),
            [variant, weight] => (variant, Some(weight)),
            _ => return None,
        };
        let variant = self.node(variant, &trail.at(0), depth + 1);
        let weight = match weight {
            None => Weight::Literal(1),
            Some(weight) if is_computed(weight) => {
                Weight::Computed(self.node(weight, &trail.at(1), depth + 1))
            }
            Some(weight) => Weight::Literal(weight_of(&Datum::from(weight))?),
        };
        Some(Bucket { variant, weight })
    }
}

/// Whether a value has an operation in it.
fn is_computed(value: &Json) -> bool {
    match value {
        Json::Object(_) => true,
        // Nesting is bounded by the parser, and again when the list is compiled.
        Json::Array(items) => items.iter().any(is_computed),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// Exactly `N` nodes: missing ones are null, those beyond are left out.
fn fixed<const N: usize>(nodes: Box<[Node]>) -> Box<[Node; N]> {
    let mut nodes = nodes.into_iter();
    Box::new(std::array::from_fn(|_| nodes.next().unwrap_or(Node::Constant(Json::Null))))
}

fn at_most(nodes: Box<[Node]>, count: usize) -> Box<[Node]> {
    let mut nodes = nodes.into_vec();
    nodes.truncate(count);
    nodes.into_boxed_slice()
}
