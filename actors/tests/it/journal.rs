//! The journal on a real folder.

#[path = "journal/damage.rs"]
mod damage;
#[path = "journal/erasure.rs"]
mod erasure;
#[path = "journal/kill.rs"]
mod kill;
#[path = "journal/outcomes.rs"]
mod outcomes;
#[path = "journal/records.rs"]
mod records;
#[path = "journal/retention.rs"]
mod retention;
#[path = "journal/search.rs"]
mod search;
#[path = "journal/support.rs"]
mod support;
#[path = "journal/windows.rs"]
mod windows;
