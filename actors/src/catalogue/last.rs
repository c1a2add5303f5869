//! The state that compiled last, for whoever compiles next.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::serving::ServingState;

/// The last state that compiled. Cloning shares it: on a leader the validator compiles what the
/// publisher then serves, and so it is compiled, and held in memory, once.
#[derive(Clone, Default)]
pub struct LastCompiled(Arc<Mutex<Option<Arc<ServingState>>>>);

impl std::fmt::Debug for LastCompiled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "LastCompiled({:?})", self.get().map(|state| state.revision))
    }
}

impl LastCompiled {
    /// The state; none before the first compilation.
    #[must_use]
    pub fn get(&self) -> Option<Arc<ServingState>> {
        self.0.lock().clone()
    }

    /// Puts a state that was compiled.
    pub fn put(&self, state: Arc<ServingState>) {
        *self.0.lock() = Some(state);
    }

    /// Puts a state that is served, unless a newer one is being prepared.
    pub(crate) fn served(&self, state: &Arc<ServingState>) {
        let mut last = self.0.lock();
        if last.as_ref().is_none_or(|last| last.revision <= state.revision) {
            *last = Some(Arc::clone(state));
        }
    }
}
