//! Working memory that evaluations reuse.

/// Working memory of evaluations, reused from request to request and from set to set.
#[derive(Debug, Default)]
pub struct Scratch {}
