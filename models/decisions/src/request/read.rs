//! Reading bodies and batches without building what is not needed: members are taken as they come, and
//! a fault of one item does not end the others.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use verdict_config::{Code, Fault, Faults};

use super::FAULTS_MAX;
use super::body::{Body, mismatch, shown};

/// Reads a body; what is not an object becomes a fault, not an error, so that the other items of a
/// batch are still read.
pub(super) struct BodySeed;

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Body;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        match deserializer.deserialize_any(ObjectVisitor { sink: Body::default() })? {
            Either::Object(body) => Ok(body),
            Either::Other(json) => {
                let mut body = Body::default();
                let expected = "an object like {\"input\":{...}}";
                body.faults.push(mismatch("", expected, &json));
                body.input = Some(Map::new());
                Ok(body)
            }
        }
    }
}

/// What takes the members of an object one by one.
pub(super) trait Sink: Sized {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

impl Sink for Body {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let twice = match key {
            "input" => {
                let twice = self.input.is_some();
                match map.next_value_seed(InputSeed)? {
                    Either::Object(input) => {
                        self.faults.extend(input.faults);
                        self.input = Some(input.members);
                    }
                    Either::Other(json) => {
                        self.faults.push(mismatch("input", "an object", &json));
                    }
                }
                twice
            }
            "request_id" => self.request_id.replace(map.next_value()?).is_some(),
            "unit" => self.unit.replace(map.next_value()?).is_some(),
            "as_of" => self.as_of.replace(map.next_value()?).is_some(),
            "test" => self.test.replace(map.next_value()?).is_some(),
            _ => {
                let _: serde::de::IgnoredAny = map.next_value()?;
                let message = "the keys of a request are input, request_id, unit, as_of, test";
                if self.faults.len() < FAULTS_MAX {
                    self.faults.push(Fault::new(Code::UnknownKey, shown(key), message));
                }
                false
            }
        };
        if twice && self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault::new(Code::InvalidValue, key, "the key stands twice"));
        }
        Ok(())
    }
}

/// The members of `input`.
#[derive(Default)]
pub(super) struct Input {
    pub(super) members: Map<String, Json>,
    pub(super) faults: Faults,
}

impl Sink for Input {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let value: Json = map.next_value()?;
        if self.members.insert(key.to_owned(), value).is_some() && self.faults.len() < FAULTS_MAX {
            let path = format!("input.{}", shown(key));
            self.faults.push(Fault::new(Code::InvalidValue, path, "the key stands twice"));
        }
        Ok(())
    }
}

pub(super) struct InputSeed;

impl<'de> DeserializeSeed<'de> for InputSeed {
    type Value = Either<Input>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(ObjectVisitor { sink: Input::default() })
    }
}

/// `items` of a batch, and what is wrong with the rest of it.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) items: Option<Vec<Body>>,
    pub(super) over_limit: bool,
    pub(super) faults: Faults,
}

pub(super) struct BatchSeed {
    pub(super) items_max: usize,
}

impl<'de> DeserializeSeed<'de> for BatchSeed {
    type Value = Batch;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Batch, D::Error> {
        let sink = BatchSink { batch: Batch::default(), items_max: self.items_max };
        let mut batch = match deserializer.deserialize_any(ObjectVisitor { sink })? {
            Either::Object(sink) => sink.batch,
            Either::Other(json) => {
                let fault = mismatch("", "an object like {\"items\":[...]}", &json);
                return Ok(Batch { faults: vec![fault], ..Batch::default() });
            }
        };
        if batch.items.is_none() && batch.faults.is_empty() {
            let message = "items is required: send an array of requests";
            batch.faults.push(Fault::new(Code::MissingKey, "items", message));
        }
        Ok(batch)
    }
}

pub(super) struct BatchSink {
    pub(super) batch: Batch,
    pub(super) items_max: usize,
}

impl Sink for BatchSink {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if key == "items" {
            let Items { bodies, over_limit, fault } =
                map.next_value_seed(ItemsSeed { items_max: self.items_max })?;
            self.batch.over_limit |= over_limit;
            self.batch.faults.extend(fault);
            if self.batch.items.replace(bodies).is_some() {
                let fault = Fault::new(Code::InvalidValue, "items", "the key stands twice");
                self.batch.faults.push(fault);
            }
        } else {
            let _: serde::de::IgnoredAny = map.next_value()?;
            if self.batch.faults.len() < FAULTS_MAX {
                let fault = Fault::new(Code::UnknownKey, shown(key), "the key of a batch is items");
                self.batch.faults.push(fault);
            }
        }
        Ok(())
    }
}

pub(super) struct ItemsSeed {
    pub(super) items_max: usize,
}

pub(super) struct Items {
    pub(super) bodies: Vec<Body>,
    pub(super) over_limit: bool,
    pub(super) fault: Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for ItemsSeed {
    type Value = Items;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Items, D::Error> {
        deserializer.deserialize_any(ItemsVisitor { items_max: self.items_max })
    }
}

macro_rules! other_values {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<Self::Value, E> {
            Ok(Self::other(Json::from(value)))
        })*

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(Self::other(Json::Null))
        }
    };
}

macro_rules! every_other_value {
    () => {
        other_values! {
            visit_bool: bool;
            visit_i64: i64;
            visit_u64: u64;
            visit_f64: f64;
            visit_str: &str;
        }
    };
}

pub(super) struct ItemsVisitor {
    pub(super) items_max: usize,
}

impl ItemsVisitor {
    fn refused(got: &Json) -> Items {
        let fault = mismatch("items", "an array of requests", got);
        Items { bodies: Vec::new(), over_limit: false, fault: Some(fault) }
    }
}

impl ItemsVisitor {
    pub(super) fn other(json: Json) -> Items {
        Self::refused(&json)
    }
}

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
        let mut items = Items { bodies: Vec::new(), over_limit: false, fault: None };
        while items.bodies.len() < self.items_max {
            match seq.next_element_seed(BodySeed)? {
                Some(body) => items.bodies.push(body),
                None => return Ok(items),
            }
        }
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
            items.over_limit = true;
        }
        Ok(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Self::other(Json::Object(Map::new())))
    }

    every_other_value!();
}

/// An object taken apart by a sink, or a value of another kind.
pub(super) enum Either<T> {
    Object(T),
    Other(Json),
}

pub(super) struct ObjectVisitor<S> {
    sink: S,
}

impl<S> ObjectVisitor<S> {
    pub(super) const fn other(json: Json) -> Either<S> {
        Either::Other(json)
    }
}

impl<'de, S: Sink> Visitor<'de> for ObjectVisitor<S> {
    type Value = Either<S>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            self.sink.member(&key, &mut map)?;
        }
        Ok(Either::Object(self.sink))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Self::other(Json::Array(Vec::new())))
    }

    every_other_value!();
}
