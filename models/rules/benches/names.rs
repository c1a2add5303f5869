//! Cost of looking for a name in lists of different lengths, by the matcher of either version of
//! evaluation: lists are built, and names looked for that are in them, misspelt, in no way like them,
//! and made to cost as much as they can.
//!
//! Beside the times it prints how many cost units each look-up was charged and its worst case, so that
//! the constants of `src/names/work.rs` can be held against the clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use verdict_config::definition::{ListDefinition, ListEntry};
use verdict_config::{EvaluationVersion, TimestampMs};
use verdict_rules::names::{NameList, NameQuery, NameScratch};

const AS_OF: TimestampMs = TimestampMs(1_767_225_600_000);

/// SplitMix64: enough for a workload, and the same everywhere.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap()
    }

    fn word(&mut self, syllables: usize) -> String {
        const ONSETS: [&str; 16] =
            ["b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr"];
        const RHYMES: [&str; 12] =
            ["a", "e", "i", "o", "u", "an", "er", "in", "or", "ing", "ent", "al"];
        (0..syllables).flat_map(|_| [ONSETS[self.below(16)], RHYMES[self.below(12)]]).collect()
    }

    /// A name of two or three words; of the first, many entries share one.
    fn name(&mut self, given: &[String]) -> String {
        let mut name = given[self.below(given.len() as u64)].clone();
        for _ in 0..1 + self.below(2) {
            let syllables = 2 + self.below(2);
            name = format!("{name} {}", self.word(syllables));
        }
        name
    }
}

fn list(values: impl Iterator<Item = String>) -> ListDefinition {
    let entry =
        |value| ListEntry { value, expires: None, comment: None, qualifiers: Default::default() };
    ListDefinition { entries: values.map(entry).collect() }
}

/// A word of 64 letters of which all have the same grams, and so many of them at most that differ.
fn long_word(which: usize) -> String {
    let mut word: Vec<u8> = b"abcd".repeat(16);
    word[(which * 7) % 64] = b"efghijk"[which % 7];
    String::from_utf8(word).unwrap()
}

fn names(criterion: &mut Criterion) {
    for count in [10usize, 1_000, 20_000] {
        let mut seeded = Seeded(2);
        let given: Vec<String> = (0..200).map(|_| seeded.word(2)).collect();
        let ordinary = list((0..count).map(|_| seeded.name(&given)));
        let same = |at: usize| (0..8).map(|nth| long_word(at + nth)).collect::<Vec<_>>().join(" ");
        let hostile = list((0..count).map(|at| same(at).chars().take(512).collect()));
        let exact = ordinary.entries[count / 2].value.clone();
        let mut typo = exact.clone();
        typo.remove(2);
        let words = (0..32).map(long_word).collect::<Vec<_>>().join(" ");
        let crowd = given.iter().take(32).cloned().collect::<Vec<_>>().join(" ");
        let queries = [
            ("exact", &ordinary, exact.clone()),
            ("typo", &ordinary, typo),
            ("joined", &ordinary, exact.replace(' ', "")),
            ("miss, shares a word", &ordinary, format!("{} Quackenbush", given[0])),
            ("miss, stranger", &ordinary, "Wilhelmina Quackenbush-Featherstone".to_owned()),
            ("hostile, 32 words of the list", &ordinary, crowd),
            ("hostile, 32 words of 64 letters", &ordinary, words.clone()),
            ("hostile, and the list too", &hostile, words),
        ];
        for (name, version) in [("v1", EvaluationVersion::V1), ("v2", EvaluationVersion::V2)] {
            let mut group = criterion.benchmark_group(format!("names/{count}/{name}"));
            group.sample_size(10);
            for (what, definition) in [("publish", &ordinary), ("publish hostile", &hostile)] {
                group.bench_function(what, |bencher| {
                    bencher.iter(|| NameList::build_for(black_box(definition), version).unwrap());
                });
            }
            let built = NameList::build_for(&ordinary, version).unwrap();
            let built_hostile = NameList::build_for(&hostile, version).unwrap();
            let mut scratch = NameScratch::default();
            for (what, definition, text) in &queries {
                let names =
                    if std::ptr::eq(*definition, &ordinary) { &built } else { &built_hostile };
                let query = NameQuery { name: text, ..NameQuery::default() };
                let score = names.score(&query, AS_OF, &mut scratch);
                println!(
                    "names/{count}/{name}/{what}: {score:?}, {} units of at most {}",
                    names.spent_units(&scratch),
                    names.cost_units(text.len() as u64)
                );
                group.bench_function(*what, |bencher| {
                    bencher.iter(|| names.score(black_box(&query), AS_OF, &mut scratch));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, names);
criterion_main!(benches);
