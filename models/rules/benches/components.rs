//! What the parts of a rule set cost by themselves: keywords, codes, names, tables, windows.
//!
//! The workload is generated from a seed and kept here, so that figures of different days compare.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use verdict_config::definition::{Effect, HitPolicy, ListDefinition, ListEntry, TableDefinition};
use verdict_config::{FieldType, TimestampMs, Value};
use verdict_rules::keywords::{KeywordHits, KeywordMatcher, KeywordScratch, normalise_into};
use verdict_rules::lists::CodeList;
use verdict_rules::names::{NameList, NameQuery, NameScratch};
use verdict_rules::tables::{ColumnTarget, DecisionTable, TableContext};
use verdict_rules::window::{WindowFunction, WindowMeasure, WindowSeries, WindowSpan};

const AS_OF: TimestampMs = TimestampMs(1_767_225_600_000);

/// SplitMix64: enough for a workload, and the same everywhere.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// An invented word with the rhythm of one.
    fn word(&mut self, syllables: usize) -> String {
        const ONSETS: [&str; 16] =
            ["b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr"];
        const RHYMES: [&str; 12] =
            ["a", "e", "i", "o", "u", "an", "er", "in", "or", "ing", "ent", "al"];
        (0..syllables).flat_map(|_| [ONSETS[self.below(16)], RHYMES[self.below(12)]]).collect()
    }

    fn phrase(&mut self, words: usize) -> String {
        let words: Vec<String> = (0..words).map(|nth| self.word(2 + nth % 2)).collect();
        words.join(" ")
    }
}

fn list(values: impl Iterator<Item = String>) -> ListDefinition {
    let entry =
        |value| ListEntry { value, expires: None, comment: None, qualifiers: Default::default() };
    ListDefinition { entries: values.map(entry).collect() }
}

/// A text of so many characters of invented words.
fn text(seeded: &mut Seeded, chars: usize) -> String {
    let mut text = String::new();
    while text.len() < chars {
        let syllables = 1 + seeded.below(3);
        text.push_str(&seeded.word(syllables));
        text.push(' ');
    }
    text.truncate(chars);
    text
}

fn keywords(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keywords");
    for patterns in [100usize, 5_000, 50_000] {
        let mut seeded = Seeded(1);
        let lists: Vec<ListDefinition> = (0..20)
            .map(|_| {
                list(
                    (0..patterns / 20)
                        .map(|nth| seeded.phrase(1 + nth % 3))
                        .collect::<Vec<_>>()
                        .into_iter(),
                )
            })
            .collect();
        let named: Vec<_> = (0u32..).zip(&lists).collect();
        let Ok(matcher) = KeywordMatcher::build(&named) else { return };
        let miss = text(&mut seeded, 300);
        let mut hit = text(&mut seeded, 280);
        hit.insert_str(100, &format!(" {} ", lists[7].entries[1].value));
        let marked = miss.replacen("an", "án", 3);
        let mut scratch = KeywordScratch::default();
        let mut hits = KeywordHits::default();
        group.throughput(Throughput::Bytes(300));
        for (name, text) in [("miss", &miss), ("hit", &hit), ("marks", &marked)] {
            group.bench_function(BenchmarkId::new(name, patterns), |bencher| {
                bencher.iter(|| matcher.scan_into(black_box(text), AS_OF, &mut scratch, &mut hits));
            });
        }
        if patterns == 5_000 {
            let mut buffer = Vec::new();
            group.bench_function("normalise alone", |bencher| {
                bencher.iter(|| normalise_into(black_box(&miss), &mut buffer));
            });
            // The peer: the same automaton crate as its documentation uses it, over the same text.
            let values = lists.iter().flat_map(|list| &list.entries).map(|entry| &entry.value);
            if let Ok(peer) =
                aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(values)
            {
                group.bench_function("peer: aho-corasick overlapping, no boundaries", |bencher| {
                    bencher.iter(|| peer.find_overlapping_iter(black_box(&miss)).count());
                });
            }
        }
    }
    group.finish();
}

fn codes_and_names(criterion: &mut Criterion) {
    let mut seeded = Seeded(2);
    let definition = list((0..10_000).map(|_| seeded.word(4)).collect::<Vec<_>>().into_iter());
    if let Ok(codes) = CodeList::build(&definition) {
        let known = definition.entries[77].value.to_uppercase();
        criterion.bench_function("codes/contains", |bencher| {
            bencher.iter(|| codes.contains(black_box(&known), AS_OF));
        });
    }
    for count in [1_000usize, 100_000] {
        let definition =
            list((0..count).map(|_| seeded.phrase(2 + count % 2)).collect::<Vec<_>>().into_iter());
        let Ok(names) = NameList::build(&definition) else { return };
        let mut scratch = NameScratch::default();
        let exact = definition.entries[count / 2].value.clone();
        let mut typo = exact.clone();
        typo.remove(2);
        let stranger = "Wilhelmina Quackenbush-Featherstone".to_owned();
        for (name, text) in [("exact", &exact), ("typo", &typo), ("stranger", &stranger)] {
            criterion.bench_function(&format!("names/{name}/{count}"), |bencher| {
                let query = NameQuery { name: black_box(text), ..NameQuery::default() };
                bencher.iter(|| names.score(&query, AS_OF, &mut scratch));
            });
        }
    }
}

fn tables(criterion: &mut Criterion) {
    for rows in [10usize, 1_000] {
        let cells = (0..rows).map(|row| {
            vec![format!("C{}", row % 50), format!("[{}..{})", row / 50, row / 50 + 1), "5".into()]
        });
        let table = TableDefinition {
            columns: vec!["country".into(), "amount".into(), "then.points".into()],
            rows: cells.collect(),
        };
        let resolve = |name: &str| {
            let (slot, field_type) = match name {
                "country" => (0, FieldType::Symbol),
                _ => (1, FieldType::Decimal),
            };
            Some(ColumnTarget { slot, field_type, field: None })
        };
        let base = Effect::default();
        let context = TableContext { resolve: &resolve, hit_policy: HitPolicy::First, base: &base };
        let Ok(table) = DecisionTable::compile(&table, &context) else { return };
        let facts = [Value::Text("C7".into()), Value::Decimal(0.into())];
        criterion.bench_function(&format!("tables/first/{rows}"), |bencher| {
            bencher.iter(|| table.evaluate(|slot| black_box(facts.get(slot as usize))));
        });
    }
}

fn windows(criterion: &mut Criterion) {
    let Some(span) = WindowSpan::new(24 * 3_600 * 1_000) else { return };
    let mut series = WindowSeries::new(span, WindowMeasure::Amounts);
    let amount = Value::Decimal(rust_decimal::Decimal::new(1_999, 2));
    for minute in 0..1_440 {
        series.add(TimestampMs(AS_OF.0 + minute * 60_000), Some(&amount));
    }
    let as_of = TimestampMs(AS_OF.0 + 1_439 * 60_000);
    criterion.bench_function("windows/add", |bencher| {
        bencher.iter(|| series.add(black_box(as_of), Some(&amount)));
    });
    criterion.bench_function("windows/sum of 60 buckets", |bencher| {
        bencher.iter(|| series.read(WindowFunction::Sum, FieldType::Decimal, black_box(as_of)));
    });
}

criterion_group!(benches, keywords, codes_and_names, tables, windows);
criterion_main!(benches);
