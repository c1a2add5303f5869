//! Quality.
