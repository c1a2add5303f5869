//! Flows: stages, fusion, abstention, the decision record and its replay.
