//! Results by (model content hash, row hash): a model's answer depends on nothing else.
//!
//! The key holds the whole content hash, so a hit across versions cannot happen. The row hash is
//! the first 128 bits of a SHA-256 and not a faster hash, because rows come from strangers: whoever
//! found two rows of one hash could be decided by the answer to the other.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use verdict_config::model::{ModelOutput, ModelRow, ModelValue};

/// A key of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResultKey {
    model: Arc<str>,
    row: [u8; 16],
}

/// The cache of results. Cloning is cheap and shares it.
#[derive(Debug, Clone)]
pub struct ResultCache {
    results: moka::sync::Cache<ResultKey, Arc<ModelOutput>>,
}

impl ResultCache {
    /// A cache of at most `results_max` results.
    #[must_use]
    pub fn new(results_max: u64) -> Self {
        Self { results: moka::sync::Cache::new(results_max) }
    }

    /// The key of a row for a model.
    #[must_use]
    pub fn key(model: &Arc<str>, row: &ModelRow) -> ResultKey {
        ResultKey { model: Arc::clone(model), row: row_hash(row) }
    }

    /// A result that was seen before.
    #[must_use]
    pub fn get(&self, key: &ResultKey) -> Option<ModelOutput> {
        let found = self.results.get(key);
        let name = if found.is_some() {
            "verdict_inference_cache_hits_total"
        } else {
            "verdict_inference_cache_misses_total"
        };
        metrics::counter!(name).increment(1);
        found.map(|output| (*output).clone())
    }

    /// Keeps a result.
    pub fn insert(&self, key: ResultKey, output: &ModelOutput) {
        self.results.insert(key, Arc::new(output.clone()));
    }

    /// Results kept, after pending work of the cache.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.results.run_pending_tasks();
        self.results.entry_count()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// 128 bits over the cells, each with its kind and length, so that no two rows read the same.
fn row_hash(row: &ModelRow) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for value in row {
        match value {
            ModelValue::Missing => hasher.update([0]),
            ModelValue::Text(text) => {
                hasher.update([1]);
                hasher.update((text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            ModelValue::Number(number) => {
                hasher.update([2]);
                hasher.update(number.to_bits().to_le_bytes());
            }
        }
    }
    let digest = hasher.finalize();
    std::array::from_fn(|position| digest[position])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> ModelValue {
        ModelValue::Text(text.to_owned())
    }

    #[test]
    fn rows_that_differ_have_different_hashes() {
        let rows = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![text("abc")],
            vec![text("abc"), ModelValue::Missing],
            vec![ModelValue::Number(0.0)],
            vec![ModelValue::Number(-0.0)],
            vec![],
        ];
        for (left, right) in rows.iter().zip(rows.iter().skip(1)) {
            assert_ne!(row_hash(left), row_hash(right), "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_result_is_found_for_its_model_only_and_the_size_is_bounded() {
        let cache = ResultCache::new(50);
        let output = ModelOutput { scores: vec![0.5], ood_distance: None, kernel: "flex".into() };
        let (old, new): (Arc<str>, Arc<str>) = ("aa".into(), "bb".into());
        let row = vec![text("x")];
        cache.insert(ResultCache::key(&old, &row), &output);
        assert_eq!(cache.get(&ResultCache::key(&old, &row)), Some(output.clone()));
        assert_eq!(cache.get(&ResultCache::key(&new, &row)), None);
        for number in 0..1_000 {
            let row = vec![ModelValue::Number(f64::from(number))];
            cache.insert(ResultCache::key(&old, &row), &output);
        }
        assert!((1..=50).contains(&cache.len()));
    }
}
