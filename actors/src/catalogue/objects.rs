//! The objects that a compilation reads.

use std::sync::Arc;

use verdict_config::catalogue::{Body, CatalogueText, read_body};
use verdict_config::definition::{
    FlowDefinition, ListDefinition, RuleSetDefinition, SnoozeDefinition, TableDefinition,
};
use verdict_config::model::ModelObject;
use verdict_config::{Code, EvaluationVersion, Fault, Faults, ObjectId, ObjectKind, OrderedMap};
use verdict_consensus::{Catalogue, Object, Op};

/// All objects of one catalogue, by kind and name. Cheap to clone and to change.
#[derive(Debug, Clone, Default)]
pub struct CatalogueObjects {
    /// The catalogue's revision; 0 where it was never agreed.
    pub revision: u64,
    /// When it was made, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The version by which the rules evaluate; of files that belong to no cluster the newest.
    pub evaluation: EvaluationVersion,
    /// The objects, with the revisions that last changed them; 0 where they were never agreed.
    pub objects: OrderedMap<ObjectId, Arc<Object>>,
}

impl From<&Catalogue> for CatalogueObjects {
    fn from(catalogue: &Catalogue) -> Self {
        let objects = catalogue.objects_by_id().clone();
        Self {
            revision: catalogue.revision(),
            at_ms: catalogue.at().0,
            evaluation: catalogue.evaluation(),
            objects,
        }
    }
}

impl From<&CatalogueText> for CatalogueObjects {
    fn from(text: &CatalogueText) -> Self {
        let mut all = Self::default();
        for object in text.objects.values() {
            all.put(object.id.clone(), object.body.to_string().into_bytes());
        }
        all
    }
}

impl CatalogueObjects {
    /// Puts a body in the place of the object's own; its revision is one more than the catalogue's.
    pub fn put(&mut self, id: ObjectId, body: impl Into<Arc<[u8]>>) {
        let revision = self.revision.saturating_add(1);
        self.objects.insert(id.clone(), Arc::new(Object::new(id, body.into(), revision)));
    }

    /// Removes an object.
    pub fn delete(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    /// The objects as they would be after a change set; its own faults are not looked for here.
    #[must_use]
    pub fn changed(&self, changes: &[verdict_consensus::Change]) -> Self {
        let mut next = self.clone();
        for change in changes {
            let Ok(id) = change.object() else { continue };
            match (change.op, &change.body) {
                (Op::Put, Some(body)) => next.put(id, body.clone()),
                (Op::Delete, _) => next.delete(&id),
                (Op::Put, None) => {}
            }
        }
        next
    }
}

/// A body that was read.
#[derive(Debug, Clone)]
pub(crate) enum TypedBody {
    List(Arc<ListDefinition>),
    Table(Arc<TableDefinition>),
    RuleSet(Arc<RuleSetDefinition>),
    Flow(Arc<FlowDefinition>),
    Model(Arc<ModelObject>),
    /// The name of the model that an alias points to.
    Alias(Arc<str>),
    Snooze(Arc<SnoozeDefinition>),
    /// Read by something else, or by nothing.
    Other,
}

/// A body with what identifies it.
#[derive(Debug, Clone)]
pub(crate) struct TypedObject {
    pub hash: [u8; 32],
    pub revision: u64,
    pub body: TypedBody,
    /// Hashes of the words of a flow's or rule set's body, sorted: what it may name.
    pub words: Arc<[u64]>,
}

impl TypedObject {
    pub(crate) fn read(id: &ObjectId, object: &Object) -> Result<Self, Faults> {
        let json: serde_json::Value = serde_json::from_slice(&object.body)
            .map_err(|error| vec![Fault::new(Code::InvalidSyntax, "", error.to_string())])?;
        let body = match read_body(id.kind, id.name.as_str(), &json)? {
            Body::List(list) => TypedBody::List(Arc::new(list)),
            Body::Table(table) => TypedBody::Table(Arc::new(table)),
            Body::RuleSet(set) => TypedBody::RuleSet(Arc::from(set)),
            Body::Flow(flow) => TypedBody::Flow(Arc::from(flow)),
            Body::Model(model) => TypedBody::Model(Arc::from(model)),
            Body::Alias(alias) => TypedBody::Alias(alias.model.into()),
            Body::Json(json) if id.kind == ObjectKind::Setting => snooze_of(id, json),
            Body::Json(_) => TypedBody::Other,
        };
        let words = match body {
            TypedBody::RuleSet(_) | TypedBody::Flow(_) => words_of(&object.body),
            _ => Arc::default(),
        };
        Ok(Self { hash: object.hash.0, revision: object.revision, body, words })
    }

    /// Whether the body may name an object: a name stands in a body as a whole word. What this
    /// denies is kept from the body's compilation, so that it can never be read without having
    /// been part of the key.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.words.binary_search(&word_hash(name.as_bytes())).is_ok()
    }
}

/// A setting as a snooze. One that is none, whatever its name, was checked when it was put, or stood
/// there before there were snoozes: it has no effect, and keeps nothing from being served.
fn snooze_of(id: &ObjectId, json: serde_json::Value) -> TypedBody {
    if !SnoozeDefinition::is_named(id.name.as_str()) {
        return TypedBody::Other;
    }
    serde_json::from_value(json).map_or(TypedBody::Other, |body| TypedBody::Snooze(Arc::new(body)))
}

/// Hashes of the maximal runs of characters that plain names are made of.
fn words_of(text: &[u8]) -> Arc<[u64]> {
    let in_name =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(byte);
    let mut words: Vec<u64> = text
        .split(|byte| !in_name(byte))
        .filter(|word| (1..=64).contains(&word.len()))
        .map(word_hash)
        .collect();
    words.sort_unstable();
    words.dedup();
    words.into()
}

fn word_hash(word: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(word);
    hasher.finish()
}

/// The members of one kind with their names.
pub(crate) fn of_kind(
    typed: &OrderedMap<ObjectId, TypedObject>,
    kind: ObjectKind,
) -> impl Iterator<Item = (&str, &TypedObject)> {
    typed
        .range_by(move |id| id.kind < kind)
        .take_while(move |(id, _)| id.kind == kind)
        .map(|(id, object)| (id.name.as_str(), object))
}
