//! From the catalogue's objects to a state that can serve, or to every fault of them.
//!
//! ```text
//! objects ──differ from the last──> typed bodies ──compile──> flags, models, flows ──> ServingState
//!    │ unchanged: the body of before             │ unchanged: the Arc of before
//! ```
//!
//! The cost of a compilation is that of what changed: objects stand in a persistent map, which is
//! compared with the one that the state before was made of.
//!
//! Pure: no clock, no files. `verdict check`, dry runs, proposals and the publisher all come through
//! here, so that what was checked is what is served. A flow's key hashes everything that its
//! compilation reads; the same key gives the same flow, which is then shared and not compiled again.

mod compile;
mod flow_tests;
mod last;
mod objects;
mod report;
mod validator;

pub(crate) use compile::flows::{findings_of_flow, findings_of_set};
pub use compile::{Compilation, CompileOptions, check_catalogue, compile};
pub(crate) use flow_tests::run_flow_tests;
pub use flow_tests::{FlowTests, check_catalogue_with_models};
pub use last::LastCompiled;
pub use objects::CatalogueObjects;
pub(crate) use objects::TypedObject;
pub use report::{CheckReport, ObjectFault, ObjectFinding, RuleSetTests};
pub use validator::CompilingValidator;
pub(crate) use validator::is_compiled_against;
