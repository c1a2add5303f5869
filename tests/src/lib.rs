//! What tests and long runs against real processes share.

pub mod chaos;
pub mod ports;
