//! What the expressions of one rule set share: atoms, lists, tables, windows, and what each slot is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use verdict_config::schema::{CHARS_MAX, ITEMS_MAX};
use verdict_config::{Fault, Faults, FieldType};

use crate::expression::{Atom, NameCall, Type};
use crate::keywords::KeywordMatcher;
use crate::lists::CodeList;
use crate::names::NameList;
use crate::tables::LookupTable;
use crate::{Environment, Slot, WindowRead};

/// The longest text in bytes that a derived symbol is taken to have in worst-case costs.
const DERIVED_BYTES_MAX: u64 = 1_024;

/// What one slot is.
#[derive(Debug, Clone)]
pub(crate) struct SlotInfo {
    pub(crate) name: Arc<str>,
    pub(crate) slot_type: Type,
    /// The longest text (of an item, if it is a set) in bytes.
    pub(crate) bytes_max: u64,
    /// The most items of a set.
    pub(crate) items_max: u64,
}

/// One scan of a text field for every keyword list that any rule looks for in it.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Positions among the keyword lists.
    pub(crate) lists: Vec<u32>,
    pub(crate) matcher: KeywordMatcher,
}

/// Everything that atoms refer to by position.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) slots: Vec<SlotInfo>,
    pub(crate) derived_from: Slot,
    pub(crate) windows_from: Slot,
    pub(crate) windows: Vec<WindowRead>,
    pub(crate) atoms: Vec<Atom>,
    pub(crate) keyword_lists: Vec<Arc<str>>,
    pub(crate) scans: Vec<Scan>,
    pub(crate) code_lists: Vec<(Arc<str>, CodeList)>,
    pub(crate) name_lists: Vec<(Arc<str>, NameList)>,
    pub(crate) name_calls: Vec<NameCall>,
    pub(crate) lookups: Vec<(Arc<str>, LookupTable)>,
}

/// Resources while the set is being compiled, findable by name.
pub(crate) struct ResourcesBuilder<'e> {
    pub(crate) environment: &'e Environment<'e>,
    pub(crate) built: Resources,
    atoms: HashMap<String, u32>,
    windows: HashMap<String, Slot>,
    keyword_lists: BTreeMap<String, u32>,
    scans: BTreeMap<Slot, u32>,
    code_lists: BTreeMap<String, Option<u32>>,
    name_lists: BTreeMap<String, Option<u32>>,
    name_calls: HashMap<NameCall, u32>,
    lookups: BTreeMap<String, Option<u32>>,
    /// Faults of lists and tables, each told once and not once a rule.
    pub(crate) faults: Faults,
}

impl<'e> ResourcesBuilder<'e> {
    pub(crate) fn new(environment: &'e Environment<'e>) -> Self {
        let mut built = Resources::default();
        for (name, field) in environment.schema.fields() {
            built.slots.push(SlotInfo {
                name: name.into(),
                slot_type: Type::of(field.field_type),
                // A character has at most four bytes.
                bytes_max: 4 * u64::from(field.max_chars.unwrap_or(CHARS_MAX)),
                items_max: u64::from(field.max_items.unwrap_or(ITEMS_MAX)),
            });
        }
        let slot = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        built.derived_from = slot(built.slots.len());
        for (name, field_type) in environment.derived.iter() {
            built.slots.push(SlotInfo {
                name: name.into(),
                slot_type: Type::of(field_type),
                bytes_max: DERIVED_BYTES_MAX,
                items_max: u64::from(ITEMS_MAX),
            });
        }
        built.windows_from = slot(built.slots.len());
        Self {
            environment,
            built,
            atoms: HashMap::new(),
            windows: HashMap::new(),
            keyword_lists: BTreeMap::new(),
            scans: BTreeMap::new(),
            code_lists: BTreeMap::new(),
            name_lists: BTreeMap::new(),
            name_calls: HashMap::new(),
            lookups: BTreeMap::new(),
            faults: Faults::new(),
        }
    }

    /// The atom with this canonical text, made if it is new. An atom that comes up again is kept in
    /// evaluations when that is cheaper than to compute it twice.
    pub(crate) fn atom(&mut self, text: String, make: impl FnOnce() -> Atom) -> u32 {
        const KEEP_FROM_COST_UNITS: u64 = 12;
        if let Some(known) = self.atoms.get(&text) {
            if let Some(atom) = self.built.atoms.get_mut(*known as usize) {
                atom.kept = atom.cost_units_max >= KEEP_FROM_COST_UNITS;
            }
            return *known;
        }
        let id = position(self.built.atoms.len());
        self.built.atoms.push(make());
        self.atoms.insert(text, id);
        id
    }

    pub(crate) fn window(&mut self, read: WindowRead) -> Slot {
        if let Some(slot) = self.windows.get(&read.text) {
            return *slot;
        }
        let slot = position(self.built.slots.len());
        self.built.slots.push(SlotInfo {
            name: read.text.as_str().into(),
            slot_type: Type::of(read.result),
            bytes_max: 0,
            items_max: 0,
        });
        self.windows.insert(read.text.clone(), slot);
        self.built.windows.push(read);
        slot
    }

    /// The keyword list and the scan of the field, if the list exists.
    pub(crate) fn keywords(&mut self, name: &str, field: Slot) -> Option<(u32, u32)> {
        if !self.environment.lists.contains_key(name) {
            return None;
        }
        let list = match self.keyword_lists.get(name) {
            Some(list) => *list,
            None => {
                let list = position(self.built.keyword_lists.len());
                self.built.keyword_lists.push(name.into());
                self.keyword_lists.insert(name.to_owned(), list);
                list
            }
        };
        let scan = match self.scans.get(&field) {
            Some(scan) => *scan,
            None => {
                let scan = position(self.built.scans.len());
                let matcher = KeywordMatcher::default();
                self.built.scans.push(Scan { lists: Vec::new(), matcher });
                self.scans.insert(field, scan);
                scan
            }
        };
        let lists = &mut self.built.scans[scan as usize].lists;
        if !lists.contains(&list) {
            lists.push(list);
        }
        Some((list, scan))
    }

    /// The code list's position. The outer `None`: there is no such list.
    pub(crate) fn codes(&mut self, name: &str) -> Option<Option<u32>> {
        if let Some(known) = self.code_lists.get(name) {
            return Some(*known);
        }
        let made = CodeList::build_for(
            self.environment.lists.get(name)?,
            self.environment.limits.evaluation,
        );
        let made = self.settle(made, "lists", name);
        let id = made.map(|list| {
            self.built.code_lists.push((name.into(), list));
            position(self.built.code_lists.len() - 1)
        });
        self.code_lists.insert(name.to_owned(), id);
        Some(id)
    }

    /// The name list's position. The outer `None`: there is no such list.
    pub(crate) fn names(&mut self, name: &str) -> Option<Option<u32>> {
        if let Some(known) = self.name_lists.get(name) {
            return Some(*known);
        }
        let definition = self.environment.lists.get(name)?;
        let made = NameList::build_for(definition, self.environment.limits.evaluation);
        let made = self.settle(made, "lists", name);
        let id = made.map(|list| {
            self.built.name_lists.push((name.into(), list));
            position(self.built.name_lists.len() - 1)
        });
        self.name_lists.insert(name.to_owned(), id);
        Some(id)
    }

    pub(crate) fn name_call(&mut self, call: NameCall) -> u32 {
        let calls = &mut self.built.name_calls;
        *self.name_calls.entry(call).or_insert_with(|| {
            calls.push(call);
            position(calls.len() - 1)
        })
    }

    /// The look-up table's position. The outer `None`: there is no such table.
    pub(crate) fn lookup(&mut self, name: &str) -> Option<Option<u32>> {
        if let Some(known) = self.lookups.get(name) {
            return Some(*known);
        }
        let made = LookupTable::build(self.environment.tables.get(name)?);
        let made = self.settle(made, "tables", name);
        let id = made.map(|table| {
            self.built.lookups.push((name.into(), table));
            position(self.built.lookups.len() - 1)
        });
        self.lookups.insert(name.to_owned(), id);
        Some(id)
    }

    fn settle<T>(&mut self, made: Result<T, Faults>, kind: &str, name: &str) -> Option<T> {
        let prefix = format!("{kind}.{name}");
        made.map_err(|faults| {
            self.faults.extend(faults.into_iter().map(|fault| fault.under(&prefix)));
        })
        .ok()
    }

    /// Builds the keyword matchers, now that every list of every field is known.
    pub(crate) fn finish(mut self) -> Result<Resources, Faults> {
        for scan in &mut self.built.scans {
            let lists: Vec<_> = scan
                .lists
                .iter()
                .filter_map(|list| {
                    let name = self.built.keyword_lists.get(*list as usize)?;
                    Some((*list, self.environment.lists.get(&**name)?.as_ref()))
                })
                .collect();
            match KeywordMatcher::build_for(&lists, self.environment.limits.evaluation) {
                Ok(matcher) => scan.matcher = matcher,
                Err(faults) => self.faults.extend(faults.into_iter().map(|fault| {
                    let path = name_list_in_path(&fault.path, &self.built.keyword_lists);
                    Fault { path, ..fault }
                })),
            }
        }
        // A list that is looked for in several fields reports its faults once.
        let mut told = std::collections::HashSet::new();
        self.faults.retain(|fault| told.insert((fault.path.clone(), fault.message.clone())));
        if self.faults.is_empty() { Ok(self.built) } else { Err(self.faults) }
    }
}

/// `lists[3].entries[0]` becomes `lists.gambling.entries[0]`.
fn name_list_in_path(path: &str, names: &[Arc<str>]) -> String {
    let named = || {
        let (id, rest) = path.strip_prefix("lists[")?.split_once(']')?;
        let name = names.get(id.parse::<usize>().ok()?)?;
        Some(format!("lists.{name}{rest}"))
    };
    named().unwrap_or_else(|| path.to_owned())
}

/// Positions are 32 bits; a set is bounded far below that many of anything.
pub(crate) fn position(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A fault that a reference names nothing, with the nearest name that exists.
pub(crate) fn unknown_name<'n>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'n str>,
) -> String {
    let shown: String = name.chars().take(64).collect();
    let mut all: Vec<&str> = known.collect();
    match nearest(name, all.iter().copied()) {
        Some(near) => format!("there is no {kind} {shown:?}; did you mean {near:?}?"),
        None if all.is_empty() => format!("there is no {kind} {shown:?}; there are none"),
        None => {
            const SHOWN_MAX: usize = 12;
            let rest = all.len().saturating_sub(SHOWN_MAX);
            all.truncate(SHOWN_MAX);
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            format!("there is no {kind} {shown:?}; there are {}{more}", all.join(", "))
        }
    }
}

/// The known name that is fewest edits away, if they are few or only its end is left out.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let short: String = name.chars().take(128).collect();
    let lower = short.to_lowercase();
    known
        .map(|candidate| {
            let candidate_lower = candidate.to_lowercase();
            let edits =
                rapidfuzz::distance::levenshtein::distance(lower.chars(), candidate_lower.chars());
            (edits, candidate)
        })
        .filter(|(edits, candidate)| {
            let begins = lower.len() >= 3 && candidate.to_lowercase().starts_with(&lower);
            begins || *edits <= 1 + candidate.chars().count() / 4
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The type of a window's value, from the type of the field it is computed over.
pub(crate) const fn window_result(
    function: crate::WindowFunction,
    value: Option<FieldType>,
) -> FieldType {
    use crate::WindowFunction as F;
    match (function, value) {
        (F::Count | F::Distinct, _) | (_, None) => FieldType::Int,
        (F::Mean, Some(FieldType::Float)) => FieldType::Float,
        (F::Mean, Some(_)) => FieldType::Decimal,
        (F::Sum | F::Min | F::Max, Some(value)) => value,
    }
}
