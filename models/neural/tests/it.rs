//! Models from data to answers, through the public interface.

#![allow(clippy::print_stdout, reason = "a test or a benchmark fails by panicking, and prints")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "it/answers.rs"]
mod answers;
#[path = "it/folders.rs"]
mod folders;
#[path = "it/real_data.rs"]
mod real_data;
#[path = "it/samples.rs"]
mod samples;
#[path = "it/training.rs"]
mod training;
