//! The supervision tree: thin actor shells around pure cores, and the journal.
