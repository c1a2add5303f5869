//! Integration tests of the catalogue's types.

#[path = "it/catalogue.rs"]
mod catalogue;
#[path = "it/flags.rs"]
mod flags;
