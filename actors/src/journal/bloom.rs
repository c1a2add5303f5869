//! A Bloom filter over hashes: whether a sealed segment can hold an id, without reading it.

/// Bits a key; with 7 probes 0.8 % of absent keys are taken for present.
const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;

/// The filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    /// A filter of keys.
    pub fn of(keys: impl ExactSizeIterator<Item = u128>) -> Self {
        let words = (keys.len() * BITS_PER_KEY).div_ceil(64);
        let mut bloom = Self { words: vec![0; words] };
        for key in keys {
            for (word, bit) in bloom.places(key) {
                bloom.words[word] |= bit;
            }
        }
        bloom
    }

    /// Whether a key may be there; `false` is certain.
    pub fn may_hold(&self, key: u128) -> bool {
        !self.words.is_empty() && self.places(key).all(|(word, bit)| self.words[word] & bit != 0)
    }

    fn places(&self, key: u128) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = (self.words.len() as u64).saturating_mul(64).max(1);
        // Ids begin with a time: both halves are mixed before they are used (splitmix64).
        let first = mix((key >> 64) as u64 ^ mix(key as u64));
        let second = mix(first) | 1;
        (0..PROBES).map(move |probe| {
            let place = first.wrapping_add(second.wrapping_mul(probe)) % bits;
            ((place / 64) as usize, 1 << (place % 64))
        })
    }

    /// The filter as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The filter of such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
        Self { words: bytes.as_chunks::<8>().0.iter().map(word).collect() }
    }
}

/// splitmix64's finalizer (Steele, Lea and Flood 2014).
const fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_keys_and_few_others() {
        // Keys like ids: equal high bits, few low ones that differ.
        let keys: Vec<u128> = (0..10_000).map(|key| 7 << 100 | key).collect();
        let bloom = Bloom::from_bytes(&Bloom::of(keys.iter().copied()).to_bytes());
        assert!(keys.iter().all(|key| bloom.may_hold(*key)));
        let wrong = (10_000..110_000).filter(|key| bloom.may_hold(7 << 100 | key)).count();
        assert!(wrong < 2_000, "{wrong} of 100000");
        assert!(!Bloom::default().may_hold(1));
    }
}
