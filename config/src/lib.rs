//! What operators decide: node settings and the replicated catalogue, as pure types.
//!
//! Nothing here reads a clock, a file, a socket or a random number: text and time come in as
//! arguments, and typed values, faults and evaluations come out. Every other crate of the workspace
//! may depend on this one; it depends on none of them.

pub mod catalogue;
pub mod code;
pub mod csv;
pub mod definition;
pub mod evaluation;
pub mod fault;
pub mod flags;
pub mod model;
pub mod name;
pub mod number;
pub mod ordered;
pub mod plain;
pub mod schema;
pub mod settings;
pub mod spelling;
pub mod time;
pub mod value;

pub use code::Code;
pub use evaluation::EvaluationVersion;
pub use fault::{Fault, Faults, Refusal};
pub use name::{ObjectId, ObjectKind, ObjectName};
pub use ordered::OrderedMap;
pub use schema::{Facts, Field, Need, Schema};
pub use time::TimestampMs;
pub use value::{FieldType, Value};
