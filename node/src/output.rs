//! Output of the command line: lines, tables, JSON, faults and progress.
//!
//! Results go to standard output, everything else to standard error, so that a pipe sees results
//! only. With `--json` standard output gets one document, also where a command fails. Colours and
//! progress bars are for terminals; `NO_COLOR` and `--json` switch them off.
//!
//! Text of files and nodes is shown through `text`, so that it cannot move the cursor or reorder a
//! line.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use verdict_config::Fault;

mod text;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where a command prints to.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    silent: bool,
    colour_out: bool,
    colour_err: bool,
    /// Whether a JSON document was printed; shared by all clones.
    has_document: Arc<AtomicBool>,
}

/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something to look at.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Something wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Less important.
pub const FAINT: Style = Style::new().dimmed();
/// Headings.
pub const HEAD: Style = Style::new().bold();

impl Output {
    /// Output as the arguments and the terminal say.
    #[must_use]
    pub fn new(json: bool, colour: Colour) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let wanted = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !plain,
        };
        Self {
            json,
            silent: false,
            colour_out: wanted(std::io::stdout().is_terminal()) && !json,
            colour_err: wanted(std::io::stderr().is_terminal()),
            has_document: Arc::default(),
        }
    }

    /// Output of a command that another one runs: results are not printed.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            json: false,
            silent: true,
            colour_out: false,
            colour_err: false,
            has_document: Arc::default(),
        }
    }

    /// Whether results are JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// A text in a style, for standard output.
    #[must_use]
    pub fn styled(&self, style: Style, text: &str) -> String {
        paint(self.colour_out, style, text)
    }

    /// A text that is the result itself, for example a script: printed as it is.
    pub fn raw(&self, text: impl AsRef<str>) {
        if !self.silent {
            write_out(text.as_ref());
        }
    }

    fn write(&self, shown: &str) {
        self.raw(text::for_terminal(shown, self.colour_out));
    }

    /// One line for people only: nothing when results are JSON.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            self.write(text.as_ref());
        }
    }

    /// A result as JSON: on one line for pipes, indented on a terminal.
    pub fn json<T: Serialize>(&self, value: &T) {
        let json = if std::io::stdout().is_terminal() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.has_document.store(true, Ordering::Relaxed);
        self.raw(text::for_json(&json.unwrap_or_default()));
    }

    /// The failure of a command as JSON, unless the command has printed its document already.
    pub fn json_error<T: Serialize>(&self, value: &T) {
        if self.json && !self.has_document.load(Ordering::Relaxed) {
            self.json(value);
        }
    }

    /// A table for people: nothing when results are JSON.
    pub fn table(&self, head: &[&str], rows: Vec<Vec<String>>) {
        if self.json {
            return;
        }
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(head.iter().map(|text| self.styled(HEAD, text)));
        if !std::io::stdout().is_terminal() {
            table.load_style(presets::NOTHING);
        }
        for row in rows {
            table.add_row(row);
        }
        self.write(&table.to_string());
    }

    /// A note on standard error.
    pub fn note(&self, text: impl AsRef<str>) {
        self.complain(text.as_ref());
    }

    /// A warning on standard error.
    pub fn warn(&self, text: impl AsRef<str>) {
        let head = paint(self.colour_err, WARN, "warning");
        self.complain(&format!("{head}: {}", text.as_ref()));
    }

    /// An error on standard error.
    pub fn error(&self, text: impl AsRef<str>) {
        let head = paint(self.colour_err, BAD, "error");
        self.complain(&format!("{head}: {}", text.as_ref()));
    }

    fn complain(&self, shown: &str) {
        write_err(&text::for_terminal(shown, self.colour_err));
    }

    /// Faults, each on its line: place, code, what is wrong and what to do.
    pub fn faults(&self, faults: &[Fault]) {
        for fault in faults {
            self.complain(&self.fault_line(fault));
        }
    }

    fn fault_line(&self, fault: &Fault) -> String {
        let mut place = String::new();
        if let Some(file) = &fault.file {
            place = file.clone();
            if let Some(line) = fault.line {
                place = format!("{place}:{line}:{}", fault.column.unwrap_or(1));
            }
            place = format!("{} ", paint(self.colour_err, HEAD, &format!("{place}:")));
        }
        let code = paint(self.colour_err, BAD, fault.code.as_str());
        let path = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
        let message = sentence(&fault.message);
        let advice = fault.code.advice();
        if message.contains(advice.trim_end_matches('.')) {
            return format!("{place}{code} {path}{message}");
        }
        format!("{place}{code} {path}{message} {}", paint(self.colour_err, FAINT, advice))
    }

    /// A progress bar on standard error; hidden where nobody looks, and for the first moments, so
    /// that short work shows none.
    #[must_use]
    pub fn progress(&self, length: u64, message: &'static str) -> ProgressBar {
        let bar = if self.json || !std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden())
        } else {
            ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(10))
        };
        let template = "{msg} {wide_bar} {pos}/{len} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message(message);
        bar
    }
}

fn paint(coloured: bool, style: Style, text: &str) -> String {
    if coloured { text::marked(style, text) } else { text.to_owned() }
}

/// A message with its full stop, so that advice can stand behind it.
fn sentence(message: &str) -> String {
    let text = message.trim_end();
    if text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

/// A reader that goes away (`verdict … | head`) ends the program quietly.
fn write_out(text: &str) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

pub(crate) fn write_err(text: &str) {
    // There is nowhere left to complain to.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use verdict_config::Code;

    use super::*;

    fn check(fault: &Fault, expected: &str) {
        assert_eq!(Output::new(false, Colour::Never).fault_line(fault), expected);
    }

    #[test]
    fn coloured_cells_keep_their_columns() {
        let mut plain = Table::new();
        let mut coloured = Table::new();
        for (table, is_coloured) in [(&mut plain, false), (&mut coloured, true)] {
            table.load_style(presets::NOTHING);
            table.set_header([paint(is_coloured, HEAD, "name"), paint(is_coloured, HEAD, "n")]);
            table.add_row([paint(is_coloured, GOOD, "a"), "12".to_owned()]);
        }
        let shown = text::for_terminal(&coloured.to_string(), false);
        assert_eq!(shown, plain.to_string());
    }

    #[test]
    fn a_fault_is_told_in_sentences_and_its_advice_once() {
        let fault = Fault::new(Code::SettingsInvalid, "http.adress", "there is no such setting\n");
        check(
            &fault,
            "VD0812 http.adress: there is no such setting. Correct every fault that is named.",
        );
        let advice = Code::InvalidName.advice();
        let fault = Fault::new(Code::InvalidName, "", format!("\"A\" is no name. {advice}"));
        check(
            &fault.at("rules/a.yaml", 3, 1),
            &format!("rules/a.yaml:3:1: VD0101 \"A\" is no name. {advice}"),
        );
    }
}
