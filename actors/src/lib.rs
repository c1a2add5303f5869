//! The supervision tree: thin actor shells around pure cores, and the journal.

pub mod blobs;
pub mod inference;
pub mod pool;
pub mod spawn;
pub mod supervisor;
