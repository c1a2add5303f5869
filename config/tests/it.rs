//! Integration tests of the catalogue's types.

#[path = "it/catalogue.rs"]
mod catalogue;
