//! The place of a value inside a definition, kept on the stack and written out only for a fault.

use std::fmt;

/// A step and the steps above it.
#[derive(Debug, Clone, Copy)]
pub struct Trail<'t> {
    above: Option<&'t Trail<'t>>,
    step: Step<'t>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'t> {
    Key(&'t str),
    Position(usize),
}

impl<'t> Trail<'t> {
    /// A key of the whole.
    pub const fn start(key: &'t str) -> Self {
        Self { above: None, step: Step::Key(key) }
    }

    /// A key below.
    pub const fn key(&'t self, key: &'t str) -> Trail<'t> {
        Trail { above: Some(self), step: Step::Key(key) }
    }

    /// A position below.
    pub const fn at(&'t self, position: usize) -> Trail<'t> {
        Trail { above: Some(self), step: Step::Position(position) }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            write!(formatter, "{above}")?;
        }
        match self.step {
            Step::Key(key) if self.above.is_some() => write!(formatter, ".{key}"),
            Step::Key(key) => formatter.write_str(key),
            Step::Position(position) => write!(formatter, "[{position}]"),
        }
    }
}
