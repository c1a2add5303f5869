//! The rule language: compiler, index, three-valued evaluation and explanations.
