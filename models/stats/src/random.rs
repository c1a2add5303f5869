//! Seeded random numbers whose sequence is part of the format of what they make.
//!
//! The stream is ChaCha with 8 rounds; everything above the raw 64-bit words is written here, so
//! that an update of a dependency cannot change what a seed means.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A deterministic source of random numbers. Not for secrets.
#[derive(Debug, Clone)]
pub struct SeededRandom {
    stream: ChaCha8Rng,
}

impl SeededRandom {
    /// A source for a seed. Different `purpose` numbers give independent sequences of one seed, so
    /// that adding a consumer does not shift the others.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(purpose);
        Self { stream }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An integer in `[0, bound)`; 0 for a bound of 0. Multiply-shift (Lemire 2019) without the
    /// rejection step: the bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A standard normal number (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(end + 1);
            items.swap(end, other);
        }
    }

    /// `count` distinct positions below `total`, in random order; all of them when there are fewer.
    pub fn sample(&mut self, total: usize, count: usize) -> Vec<usize> {
        let mut positions: Vec<usize> = (0..total).collect();
        let count = count.min(total);
        for start in 0..count {
            let other = start + self.below(total - start);
            positions.swap(start, other);
        }
        positions.truncate(count);
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_for_ever() {
        let mut random = SeededRandom::new(7, 0);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        let mut again = SeededRandom::new(7, 0);
        assert_eq!(first, (0..3).map(|_| again.bits()).collect::<Vec<_>>());
        assert_ne!(first[0], SeededRandom::new(7, 1).bits());
        assert_ne!(first[0], SeededRandom::new(8, 0).bits());
        assert_eq!(first[0], GOLDEN_FIRST_WORD_OF_SEED_7);
    }

    const GOLDEN_FIRST_WORD_OF_SEED_7: u64 = 2_910_824_217_569_608_635;

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut random = SeededRandom::new(1, 0);
        let mut sum = 0.0;
        let mut squares = 0.0;
        for _ in 0..20_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            assert!(random.below(3) < 3);
            let normal = random.normal();
            sum += normal;
            squares += normal * normal;
        }
        assert!((sum / 20_000.0).abs() < 0.03);
        assert!((squares / 20_000.0 - 1.0).abs() < 0.05);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn samples_are_distinct_and_bounded() {
        let mut sample = SeededRandom::new(1, 0).sample(10, 20);
        sample.sort_unstable();
        assert_eq!(sample, (0..10).collect::<Vec<_>>());
        assert_eq!(SeededRandom::new(1, 0).sample(1_000, 5).len(), 5);
    }
}
