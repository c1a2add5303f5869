//! What the cluster agreed: commands, catalogue, history and the durable log.
