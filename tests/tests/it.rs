//! Tests over the workspace as a whole and over real node processes.

#[path = "it/dependency_law.rs"]
mod dependency_law;
