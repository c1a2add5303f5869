//! The seeded workload: rules with a known share of hits and unknowns over records of 40 facts.
//!
//! Every clause is made true or false on purpose: values of a record lie in a band, thresholds
//! outside of it, so the share of hits is the same for every record while values differ.
//!
//! - 40 facts: 10 ints, 8 decimals, 6 floats, 8 symbols, 4 bools, a time, a set, 2 texts, of which the
//!   description has 300 characters. Four of them are absent from every record.
//! - 5 % of rules hit, 10 % are unknown, 85 % have a false clause at a random place.
//! - 30 % of rules ask for one of 50 keyword lists of 100 terms; the description hits three lists.
//! - 2 to 4 further clauses; one rule in ten compares two facts or searches the description, which no
//!   index answers.
//!
//! The same rules are written for the peers. They are given the keyword lists' hits as ready facts,
//! at no cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use verdict_config::definition::{ListDefinition, ListEntry, RuleSetDefinition};
use verdict_config::schema::read_value;
use verdict_config::{Facts, Field, Schema};

const LISTS: u64 = 50;
const TERMS: u64 = 100;
/// Lists below this number are hit by every description.
const LISTS_HIT: u64 = 3;
const DESCRIPTION_CHARS: usize = 300;
const SYMBOLS: u64 = 200;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One clause in the three languages.
struct Clause {
    own: String,
    cel: String,
    logic: Json,
}

pub struct Workload {
    pub schema: Schema,
    pub lists: BTreeMap<String, Arc<ListDefinition>>,
    pub definition: RuleSetDefinition,
    pub cel: Vec<String>,
    pub logic: Vec<Json>,
    /// Each record as JSON, without the facts that are absent.
    pub records: Vec<Json>,
}

impl Workload {
    pub fn new(rules: usize, records: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let fields: IndexMap<String, Field> = serde_json::from_value(fields()).expect("fields");
        let lists = (0..LISTS).map(|list| (list_name(list), Arc::new(list_of(list)))).collect();
        let mut own = Vec::new();
        let mut cel = Vec::new();
        let mut logic = Vec::new();
        for number in 0..rules {
            let clauses = rule(&mut random, number);
            let join = |texts: Vec<&str>| texts.join(" && ");
            own.push(json!({
                "id": format!("r{number}"),
                "category": "fraud",
                "severity": "medium",
                "when": join(clauses.iter().map(|clause| clause.own.as_str()).collect()),
                "then": { "points": 10, "reason": format!("REASON_{number}") },
            }));
            cel.push(join(clauses.iter().map(|clause| clause.cel.as_str()).collect()));
            logic.push(json!({ "and": clauses.into_iter().map(|c| c.logic).collect::<Vec<_>>() }));
        }
        let definition = json!({ "rule_set": "bench", "flow": "bench", "rules": own });
        Self {
            schema: Schema::new(&fields),
            lists,
            definition: serde_json::from_value(definition).expect("rules"),
            cel,
            logic,
            records: (0..records).map(|_| record(&mut random)).collect(),
        }
    }

    pub fn facts(&self, record: &Json) -> Facts {
        let mut facts = Facts { slots: vec![None; self.schema.fields().len()] };
        for (name, value) in record.as_object().expect("an object") {
            if let Some(slot) = self.schema.slot(name) {
                let field = self.schema.field(slot).expect("a field").1;
                facts.slots[slot as usize] = Some(read_value(field, value).expect("a value"));
            }
        }
        facts
    }
}

fn fields() -> Json {
    let mut fields = serde_json::Map::new();
    let mut add = |kind: &str, letter: &str, count: u64| {
        for number in 0..count {
            fields.insert(format!("{letter}{number}"), json!({ "type": kind }));
        }
    };
    add("int", "i", 10);
    add("decimal", "d", 8);
    add("float", "f", 6);
    add("symbol", "s", 8);
    add("bool", "b", 4);
    add("time", "t", 1);
    add("set", "g", 1);
    fields.insert("name".to_owned(), json!({ "type": "string", "max_chars": 300 }));
    fields.insert("description".to_owned(), json!({ "type": "string", "max_chars": 2000 }));
    Json::Object(fields)
}

fn list_name(list: u64) -> String {
    format!("list{list}")
}

fn term(list: u64, number: u64) -> String {
    let mut random = Random::new(list * TERMS + number);
    let letters = |random: &mut Random| {
        (0..4 + random.below(5)).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
    };
    let first: String = letters(&mut random);
    let second: String = letters(&mut random);
    if number.is_multiple_of(2) { first } else { format!("{first} {second}") }
}

fn list_of(list: u64) -> ListDefinition {
    let entry = |number| ListEntry {
        value: term(list, number),
        expires: None,
        comment: None,
        qualifiers: IndexMap::new(),
    };
    ListDefinition { entries: (0..TERMS).map(entry).collect() }
}

fn record(random: &mut Random) -> Json {
    let mut record = serde_json::Map::new();
    // The last of each of these four kinds is absent.
    for number in 0..9 {
        record.insert(format!("i{number}"), json!(400 + random.below(200)));
    }
    for number in 0..7 {
        record.insert(format!("d{number}"), json!(400.0 + random.below(20_000) as f64 / 100.0));
    }
    for number in 0..5 {
        record.insert(format!("f{number}"), json!(0.4 + random.below(200) as f64 / 1_000.0));
    }
    for number in 0..7 {
        record.insert(format!("s{number}"), json!(format!("sym{}", random.below(SYMBOLS / 2))));
    }
    for number in 0..4 {
        record.insert(format!("b{number}"), json!(number % 2 == 0));
    }
    record.insert("t0".to_owned(), json!("2026-03-01T00:00:00Z"));
    record.insert("g0".to_owned(), json!(["red", "green", "blue"]));
    record.insert("name".to_owned(), json!("Example Trading Company Limited"));
    let mut words: Vec<String> = Vec::new();
    let mut chars = 0;
    while chars < DESCRIPTION_CHARS {
        let word = match words.len() {
            5 | 11 | 17 => term(words.len() as u64 / 6 % LISTS_HIT, random.below(TERMS)),
            _ => format!("word{}", random.below(10_000)),
        };
        chars += word.chars().count() + 1;
        words.push(word);
    }
    let description: String = words.join(" ").chars().take(DESCRIPTION_CHARS).collect();
    record.insert("description".to_owned(), json!(description));
    for list in 0..LISTS {
        record.insert(format!("kw{list}"), json!(list < LISTS_HIT));
    }
    Json::Object(record)
}

/// The clauses of one rule: all true (5 %), one on an absent fact and the rest true (10 %), or one
/// false at a random place.
fn rule(random: &mut Random, number: usize) -> Vec<Clause> {
    let (hits, unknown) = (number.is_multiple_of(20), number % 10 == 5);
    let count = 2 + random.below(3) as usize;
    let keywords = number % 10 < 3;
    let special = number.is_multiple_of(40) || (!hits && !unknown && number % 10 == 4);
    let deciding = random.below(count as u64 + u64::from(keywords)) as usize;
    let mut clauses = Vec::new();
    for position in 0..count + usize::from(keywords) {
        let decides = position == deciding && !hits;
        let truth = !decides || unknown;
        let clause = if decides && unknown {
            absent_clause(random)
        } else if keywords && position == count {
            keyword_clause(random, truth)
        } else if special && position == 0 {
            residual_clause(random, truth)
        } else {
            clause(random, truth)
        };
        clauses.push(clause);
    }
    clauses
}

fn compare(field: String, operator: &str, value: Json) -> Clause {
    let text = format!("{field} {operator} {value}");
    let logic = json!({ operator: [{ "var": field }, value] });
    Clause { own: text.clone(), cel: text, logic }
}

fn clause(random: &mut Random, truth: bool) -> Clause {
    let high = random.below(2) == 0;
    // Values lie between 400 and 600; thresholds from 100 to 399 and from 601 to 900.
    let outside = if truth == high { 100 + random.below(300) } else { 601 + random.below(300) };
    let (operator, number) = if high { (">", outside) } else { ("<", outside) };
    match random.below(8) {
        0 | 1 => compare(format!("i{}", random.below(9)), operator, json!(number)),
        2 | 3 => {
            let number = number as f64 + random.below(4) as f64 / 4.0 + 0.125;
            compare(format!("d{}", random.below(7)), operator, json!(number))
        }
        4 => {
            let number = number as f64 / 1_000.0 + 0.0001;
            compare(format!("f{}", random.below(5)), operator, json!(number))
        }
        5 => {
            // No record has one of the upper half of symbols.
            let symbol = format!("sym{}", SYMBOLS / 2 + random.below(SYMBOLS / 2));
            let operator = if truth { "!=" } else { "==" };
            compare(format!("s{}", random.below(7)), operator, json!(symbol))
        }
        6 => {
            let symbols: Vec<String> =
                (0..5).map(|_| format!("sym{}", SYMBOLS / 2 + random.below(SYMBOLS / 2))).collect();
            let field = format!("s{}", random.below(7));
            let text = format!("{field} in {}", json!(symbols));
            let text = if truth { format!("!({text})") } else { text };
            let inside = json!({ "in": [{ "var": field }, symbols] });
            let logic = if truth { json!({ "!": [inside] }) } else { inside };
            Clause { own: text.clone(), cel: text, logic }
        }
        _ => {
            let number = random.below(4);
            let positive = number.is_multiple_of(2) == truth;
            let text = format!("{}b{number}", if positive { "" } else { "!" });
            let variable = json!({ "var": format!("b{number}") });
            let logic = if positive { variable } else { json!({ "!": [variable] }) };
            Clause { own: text.clone(), cel: text, logic }
        }
    }
}

fn absent_clause(random: &mut Random) -> Clause {
    match random.below(4) {
        0 => compare("i9".to_owned(), ">", json!(random.below(1_000))),
        1 => compare("d7".to_owned(), "<", json!(random.below(1_000) as f64 + 0.5)),
        2 => compare("f5".to_owned(), ">", json!(random.below(1_000) as f64 / 1_000.0 + 0.0001)),
        _ => compare("s7".to_owned(), "==", json!(format!("sym{}", random.below(SYMBOLS)))),
    }
}

fn keyword_clause(random: &mut Random, truth: bool) -> Clause {
    let list =
        if truth { random.below(LISTS_HIT) } else { LISTS_HIT + random.below(LISTS - LISTS_HIT) };
    Clause {
        own: format!("keywords(\"{}\", description)", list_name(list)),
        cel: format!("kw{list}"),
        logic: json!({ "var": format!("kw{list}") }),
    }
}

fn residual_clause(random: &mut Random, truth: bool) -> Clause {
    let (a, b) = (random.below(9), random.below(9));
    if random.below(3) == 0 {
        let part = if truth { " word" } else { "nowhere to be found" };
        let text = format!("description.contains({})", json!(part));
        let logic = json!({ "in": [part, { "var": "description" }] });
        return Clause { own: text.clone(), cel: text, logic };
    }
    let factor = if truth { 3 } else { 1 };
    let text = format!("i{a} * {factor} > i{b} + 250");
    let logic = json!({ ">": [
        { "*": [{ "var": format!("i{a}") }, factor] },
        { "+": [{ "var": format!("i{b}") }, 250] },
    ] });
    Clause { own: text.clone(), cel: text, logic }
}
