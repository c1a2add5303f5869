//! The objects of the catalogue as they are written: serde types without behaviour.
//!
//! Unknown keys are refused everywhere but in flags, whose format allows them. References between
//! objects (a flow's rule sets, a rule's lists) are names, resolved when the catalogue is compiled.

mod authority;
mod flow;
mod flow_test;
mod key;
mod list;
mod member;
mod outcome;
mod rotation;
mod rule_set;
mod snooze;
mod standing;
mod table;

pub use authority::*;
pub use flow::*;
pub use flow_test::*;
pub use key::*;
pub use list::*;
pub use member::*;
pub use outcome::*;
pub use rotation::*;
pub use rule_set::*;
pub use snooze::*;
pub use standing::*;
pub use table::*;
