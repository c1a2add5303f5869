//! The supervision tree: thin actor shells around pure cores, and the journal.

pub mod blobs;
pub mod catalogue;
pub mod inference;
pub mod journal;
pub mod pool;
pub mod publisher;
pub mod serving;
pub mod spawn;
pub mod supervisor;
