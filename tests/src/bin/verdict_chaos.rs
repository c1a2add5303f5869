//! Faults against clusters of real processes, checked by an oracle.
//!
//! `verdict-chaos --verdict PATH --minutes 5 --seed 7` starts three nodes of the program, makes
//! clients change and decide at all of them while nodes die, stop and lose each other, and says at
//! the end whether every invariant held. The same seed gives the same faults in the same order.

#![allow(clippy::print_stdout, reason = "a program whose product is its output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tokio::time::Instant;
use verdict_tests::chaos::episode::{self, Episode, Outcome};
use verdict_tests::chaos::schedule::{Fault, episode_seed};
use verdict_tests::chaos::{history, oracle};

#[derive(Parser)]
#[command(
    name = "verdict-chaos",
    about = "Faults against clusters of real processes, checked by an oracle"
)]
struct Arguments {
    /// The program under test.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["check", "list"])]
    verdict: Option<PathBuf>,
    /// Hours of faults; added to the minutes.
    #[arg(long, default_value_t = 0.0)]
    hours: f64,
    /// Minutes of faults; 5 if neither is given.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// Chooses everything; one of its own if absent, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Minutes of one episode: then it is checked, and the next begins with a cluster of its own.
    #[arg(long, default_value_t = 5.0)]
    episode_minutes: f64,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// The program's clock can be moved, as that of the tests' own program `verdict-under-test` can:
    /// faults of clocks are performed too.
    #[arg(long)]
    clocks: bool,
    /// Fails unless each of these invariants is violated: for deliberate bugs.
    #[arg(long, value_delimiter = ',')]
    expect: Vec<u8>,
    /// Keeps state and histories here; kept only after a violation if absent.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Checks a history that was kept, and runs nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Names the faults, and runs nothing.
    #[arg(long)]
    list: bool,
    /// One JSON object an episode instead of text.
    #[arg(long)]
    json: bool,
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| "no such fault: --list names them".to_owned())
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        Fault::ALL.iter().for_each(|fault| println!("{}", fault.name()));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &arguments.check {
        let verdict = oracle::check(&history::read(file)?);
        println!("{}", serde_json::to_string_pretty(&verdict)?);
        return Ok(code(verdict.violations.is_empty()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = run(&arguments) => ended,
            // What runs is dropped, and its nodes with it.
            told = told_to_stop() => { told?; anyhow::bail!("told to stop") }
        }
    })
}

async fn told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

const fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let minutes = arguments.hours * 60.0 + arguments.minutes;
    let minutes = if minutes > 0.0 { minutes } else { 5.0 };
    let length = Duration::from_secs_f64(minutes * 60.0);
    let begun = Instant::now();
    let mut number = 0;
    loop {
        let left = length.saturating_sub(begun.elapsed());
        if number > 0 && left < Duration::from_secs(20) {
            return Ok(code(arguments.expect.is_empty()));
        }
        let own = episode_seed(seed, number);
        let most = Duration::from_secs_f64(arguments.episode_minutes * 60.0);
        let temporary = tempfile::Builder::new().prefix("verdict-chaos-").tempdir()?;
        let folder = match &arguments.keep {
            Some(folder) => folder.join(format!("episode-{number}")),
            None => temporary.path().to_owned(),
        };
        let episode = Episode {
            program: arguments.verdict.clone().context("name the program: --verdict FILE")?,
            folder,
            seed: own,
            length: left.min(most),
            only: arguments.faults.clone(),
            clocks: arguments.clocks,
        };
        say(
            arguments,
            &format!("episode {number}: --seed {own}, {:.0} s", episode.length.as_secs_f64()),
        );
        let outcome = episode.run(|text| say(arguments, &format!("  {text}"))).await?;
        tell(arguments, &outcome, own)?;
        let found: Vec<u8> = outcome.verdict.counts.keys().copied().collect();
        if !found.is_empty() {
            let _kept = temporary.keep();
            let history = outcome.history.display();
            say(arguments, &format!("state and history are kept: {history}"));
            let expected = !arguments.expect.is_empty()
                && arguments.expect.iter().all(|invariant| found.contains(invariant));
            return Ok(code(expected));
        }
        number += 1;
    }
}

fn say(arguments: &Arguments, text: &str) {
    if !arguments.json {
        println!("{text}");
    }
}

fn tell(arguments: &Arguments, outcome: &Outcome, seed: u64) -> Result<()> {
    if arguments.json {
        println!("{}", serde_json::to_string(&episode::report(outcome, seed, &outcome.history))?);
        return Ok(());
    }
    println!("  longest of each fault, in ms:");
    println!("  {:<24} {:>5} {:>12} {:>18}", "fault", "times", "convergence", "without a change");
    for (name, row) in &outcome.faults {
        let (count, converged, silent) = (row.count, row.converged_ms_max, row.silence_ms_max);
        println!("  {name:<24} {count:>5} {converged:>12} {silent:>18}");
    }
    println!("  checked: {}", json!(outcome.verdict.checked));
    if outcome.corrupted > 0 {
        println!("  bytes changed on links: {}", outcome.corrupted);
    }
    for violation in &outcome.verdict.violations {
        println!("  INVARIANT {}: {}", violation.invariant, violation.what);
    }
    if outcome.verdict.violations.is_empty() {
        println!("  every invariant held");
    } else {
        println!("  violations by invariant: {}", json!(outcome.verdict.counts));
        println!("  again: verdict-chaos --verdict FILE --seed {seed}");
    }
    Ok(())
}
