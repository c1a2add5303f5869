//! The state machine and the local log, beside the bare work of the disk.
//!
//! `cargo bench -p verdict-consensus --bench log`

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test or a benchmark fails by panicking, and prints"
)]
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use verdict_config::{ObjectKind, TimestampMs};
use verdict_consensus::{
    Author, Catalogue, Change, ChangeSet, Command, DefinitionValidator, LocalLog, LocalLogOptions,
    Log, Propose, apply,
};

const WRITERS: u64 = 64;
const FLAGS: u64 = 10_000;

fn flag(number: u64, value: u64) -> Change {
    let body = format!(
        r#"{{"state":"ENABLED","variants":{{"on":{value},"off":0}},"defaultVariant":"on"}}"#
    );
    Change::put(ObjectKind::Flag, format!("flag-{number}"), body)
}

fn command(request: u64, changes: Vec<Change>) -> Command {
    let change_set = ChangeSet::new(format!("r{request}"), "bench", changes).normalised().unwrap();
    Command::Propose(Propose { change_set, author: Author::named("bench"), at: TimestampMs(1) })
}

fn open(folder: &Path) -> LocalLog {
    let now = AtomicI64::new(1);
    let clock = move || TimestampMs(now.fetch_add(1, Ordering::Relaxed));
    LocalLog::open(folder, LocalLogOptions::new(clock)).unwrap().0
}

fn state_machine(criterion: &mut Criterion) {
    let mut catalogue = Catalogue::default();
    for start in (0..FLAGS).step_by(1_000) {
        let changes = (start..start + 1_000).map(|number| flag(number, 1)).collect();
        let command = command(start, changes);
        catalogue = apply(&catalogue, &command, 1, &DefinitionValidator).unwrap().catalogue;
    }
    let one = command(FLAGS + 1, vec![flag(5_000, 2)]);
    criterion.bench_function("apply one flag of 10,000", |bencher| {
        bencher.iter(|| apply(&catalogue, &one, 11, &DefinitionValidator).unwrap());
    });
    criterion.bench_function("state hash of 10,000 flags", |bencher| {
        bencher.iter(|| catalogue.state_hash());
    });
}

fn commits(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20);
    let mut file = std::fs::File::create(folder.path().join("plain")).unwrap();
    let frame = command(1, vec![flag(1, 1)]).encode().unwrap();
    group.bench_function("peer: one write and one fdatasync", |bencher| {
        bencher.iter(|| {
            file.write_all(&frame).unwrap();
            file.sync_data().unwrap();
        });
    });
    let log = open(&folder.path().join("log"));
    let next = AtomicU64::new(0);
    let propose = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let set = ChangeSet::new(format!("c{number}"), "b", vec![flag(number % FLAGS, number)]);
        log.propose(set, Author::named("bench"))
    };
    group.bench_function("1 writer", |bencher| {
        bencher.iter(|| runtime.block_on(propose()).unwrap());
    });
    group.throughput(Throughput::Elements(WRITERS));
    group.bench_function("64 writers at once", |bencher| {
        bencher.iter(|| {
            let waiting: Vec<_> = (0..WRITERS).map(|_| propose()).collect();
            runtime.block_on(async {
                for answer in waiting {
                    answer.await.unwrap();
                }
            });
        });
    });
    group.finish();
}

fn restarts(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    {
        let log = open(folder.path());
        for start in (0..FLAGS).step_by(500) {
            let changes = (start..start + 500).map(|number| flag(number, 1)).collect();
            let set = ChangeSet::new(format!("r{start}"), "b", changes);
            runtime.block_on(log.propose(set, Author::default())).unwrap();
        }
    }
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("10,000 flags", |bencher| {
        bencher.iter_batched(|| (), |()| open(folder.path()), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(log, state_machine, commits, restarts);
criterion_main!(log);
