//! From the catalogue's objects to a state that can serve, or to every fault of them.
//!
//! ```text
//! objects ──read──> typed bodies ──compile──> flags, models, flows ──> ServingState
//!    │ unchanged (by hash): the body of before   │ unchanged (by hash): the Arc of before
//! ```
//!
//! Pure: no clock, no files. `verdict check`, dry runs, proposals and the publisher all come through
//! here, so that what was checked is what is served. A flow's key hashes everything that its
//! compilation reads; the same key gives the same flow, which is then shared and not compiled again.

mod compile;
mod objects;
mod report;
mod validator;

pub use compile::{Compilation, CompileOptions, check_catalogue, compile};
pub(crate) use objects::TypedObject;
pub use objects::{CatalogueObject, CatalogueObjects};
pub use report::{CheckReport, ObjectFault, ObjectFinding, RuleSetTests};
pub use validator::CompilingValidator;
