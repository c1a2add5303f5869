//! Tests against real node processes.
