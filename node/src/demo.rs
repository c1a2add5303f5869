//! The demo's training data. What the demo serves is made here and by `verdict train`, from nothing
//! but a seed: the repository holds no data of anybody.

pub mod generate;
