//! Facts by slot: a flow's input fields, behind them what its stages derive, behind those the
//! windows that a rule set reads. A rule knows its facts by slot only.

use verdict_config::{Facts, FieldType, Schema, Value};

/// A fact's position: fields of the schema first, then derived facts, then the set's windows.
pub type Slot = u32;

/// The facts that a flow's stages make: `scores.KEY` of each model, `classification.label` and
/// `classification.confidence`. A rule that reads one runs in the late phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DerivedFacts {
    facts: Vec<(String, FieldType)>,
}

impl DerivedFacts {
    /// Facts by name and type, in slot order.
    #[must_use]
    pub fn new(facts: Vec<(String, FieldType)>) -> Self {
        Self { facts }
    }

    /// The facts of a flow: a float `scores.KEY` for each key, and with a classification
    /// `classification.label` (symbol) and `classification.confidence` (float).
    #[must_use]
    pub fn of_flow<'a>(score_keys: impl IntoIterator<Item = &'a str>, classifies: bool) -> Self {
        let mut facts: Vec<(String, FieldType)> =
            score_keys.into_iter().map(|key| (format!("scores.{key}"), FieldType::Float)).collect();
        if classifies {
            facts.push(("classification.label".to_owned(), FieldType::Symbol));
            facts.push(("classification.confidence".to_owned(), FieldType::Float));
        }
        Self { facts }
    }

    /// Names and types in slot order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, FieldType)> {
        self.facts.iter().map(|(name, field_type)| (name.as_str(), *field_type))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// A fact's position among the derived facts (not its slot behind the fields), and its type.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(usize, FieldType)> {
        let position = self.facts.iter().position(|(known, _)| known == name)?;
        Some((position, self.facts[position].1))
    }
}

/// What names mean while a rule set is compiled: fields and derived facts with slot and type.
#[derive(Debug, Clone, Copy)]
pub struct FactNames<'a> {
    /// The flow's fields.
    pub schema: &'a Schema,
    /// Facts that stages derive.
    pub derived: &'a DerivedFacts,
}

impl<'a> FactNames<'a> {
    /// Slot and type of a name. Fields go before derived facts.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<(Slot, FieldType)> {
        if let Some(slot) = self.schema.slot(name) {
            return self.schema.field(slot).map(|(_, field)| (slot, field.field_type));
        }
        let (position, field_type) = self.derived.find(name)?;
        let slot = u32::try_from(self.schema.fields().len() + position).ok()?;
        Some((slot, field_type))
    }

    /// Whether a slot is of a derived fact.
    #[must_use]
    pub fn is_derived(&self, slot: Slot) -> bool {
        let fields = self.schema.fields().len();
        (fields..fields + self.derived.len()).contains(&(slot as usize))
    }

    /// Every name, fields first.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let fields = self.schema.fields().map(|(name, _)| name);
        fields.chain(self.derived.iter().map(|(name, _)| name))
    }
}

/// The values of one evaluation by slot; `None` is unknown.
#[derive(Debug, Clone, Copy)]
pub struct FactValues<'a> {
    /// Input fields.
    pub fields: &'a Facts,
    /// Derived facts, in the order of [`DerivedFacts`].
    pub derived: &'a [Option<Value>],
    /// Window values, in the order of the set's windows.
    pub windows: &'a [Option<Value>],
    /// Slots of the schema: where derived facts begin.
    pub derived_from: Slot,
    /// Where windows begin.
    pub windows_from: Slot,
}

impl<'a> FactValues<'a> {
    /// The value in a slot.
    #[must_use]
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&'a Value> {
        if slot < self.derived_from {
            self.fields.slots.get(slot as usize)?.as_ref()
        } else if slot < self.windows_from {
            self.derived.get((slot - self.derived_from) as usize)?.as_ref()
        } else {
            self.windows.get((slot - self.windows_from) as usize)?.as_ref()
        }
    }
}
