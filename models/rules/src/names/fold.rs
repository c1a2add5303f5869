//! Names as tokens: small Latin letters and digits, without marks and without legal forms.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_script::Script;

use super::script::{self, Alphabet};
use super::words;

/// The most tokens of a name; a name with more is cut.
pub const TOKENS_MAX: usize = 32;
/// The longest token in characters; a longer one is cut.
pub const TOKEN_CHARS_MAX: usize = 64;

/// A name as it is compared.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// Tokens in their order.
    pub tokens: Vec<Box<str>>,
    /// The first script that was only read, if there is one.
    pub read: Option<Script>,
    /// Part of the name was left out.
    pub cut: bool,
}

/// A token before its letters are made Latin.
#[derive(Default)]
struct Raw {
    chars: Vec<char>,
    latin: usize,
    other: usize,
    read: bool,
}

/// A token in Latin letters.
struct Text {
    text: Box<str>,
    /// Its script is only read: that it looks like a legal form means nothing.
    read: bool,
}

/// Folds a name.
pub fn fold(name: &str) -> Folded {
    let mut folded = Folded::default();
    let raws = split(name, &mut folded);
    let some_latin = raws.iter().any(|raw| raw.latin > 0 && raw.other == 0);
    let mut all: Vec<Text> = Vec::with_capacity(raws.len());
    let mut singles = 0usize;
    for raw in &raws {
        let text = latin(raw, some_latin, &mut folded.cut);
        if text.is_empty() {
            continue;
        }
        let single = text.len() == 1 && text.as_bytes()[0].is_ascii_alphabetic();
        if !single {
            close_run(&mut all, singles, &mut folded.cut);
            singles = 0;
        }
        singles += usize::from(single);
        all.push(Text { text: text.into(), read: raw.read });
    }
    close_run(&mut all, singles, &mut folded.cut);
    let mut tokens = without_forms(&usual(all));
    if tokens.len() > TOKENS_MAX {
        tokens.truncate(TOKENS_MAX);
        folded.cut = true;
    }
    folded.tokens = tokens;
    folded
}

/// Splits a name into tokens: an apostrophe joins (O'Brien is OBrien), everything else parts.
fn split(name: &str, folded: &mut Folded) -> Vec<Raw> {
    let mut raws = Vec::new();
    let mut raw = Raw::default();
    let mut letters = 0usize;
    let shown = name.chars().filter(|char| !script::is_invisible(*char));
    for char in shown.nfkc().chain(std::iter::once(' ')) {
        let of = script::alphabet(char);
        if is_combining_mark(char) && of == Alphabet::Common {
            continue;
        }
        if char.is_alphanumeric() || is_combining_mark(char) || matches!(char, '\u{1f100}'..='\u{1f1ff}' | '@' | '$') {
            letters += 1;
            match of {
                Alphabet::Common => {}
                Alphabet::Latin => raw.latin += 1,
                Alphabet::Read(of) => {
                    raw.read = true;
                    folded.read = folded.read.or(Some(of));
                }
                _ => raw.other += 1,
            }
            if raw.chars.len() < 2 * TOKEN_CHARS_MAX { raw.chars.push(char) } else { folded.cut = true }
        } else if char == '&' {
            if !raw.chars.is_empty() { raws.push(std::mem::take(&mut raw)); }
            raws.push(Raw { chars: vec!['a', 'n', 'd'], latin: 3, ..Raw::default() });
        } else if !matches!(char, '\'' | '\u{2019}' | '\u{2018}' | '\u{2bc}' | '\u{2bb}' | '`' | '\u{b4}') && !raw.chars.is_empty() {
            raws.push(std::mem::take(&mut raw));
        }
        // Letters that stand alone are joined later, so the bound is on letters too.
        if raws.len() >= 8 * TOKENS_MAX || letters >= 2_048 {
            folded.cut = true;
            break;
        }
    }
    raws
}

/// A token in small Latin letters.
fn latin(raw: &Raw, some_latin: bool, cut: &mut bool) -> String {
    let mut text = String::new();
    let looks = |char: &char| script::latin_look(*char).is_some() || char.is_ascii();
    let disguised = raw.other > 0 && !raw.read
        && ((raw.latin > 0 && raw.latin >= raw.other) || (some_latin && raw.chars.iter().all(looks))
            || (raw.latin > 0 && raw.chars.iter().all(looks)));
    let cyrillic = raw.other > raw.latin && raw.latin > 0 && !disguised;
    let letters = raw.latin + raw.other;
    for char in &raw.chars {
        let char = match char {
            _ if disguised && !char.is_ascii() => script::latin_look(*char).unwrap_or(*char),
            _ if cyrillic => script::cyrillic_look(*char).unwrap_or(*char),
            // Digits and signs that are written for letters.
            _ if letters >= 2 => look_of_digit(*char),
            _ => *char,
        };
        script::push_latin(char, &mut text);
    }
    // No letter was written for: an ordinal and a plain number stay as they are.
    if letters >= 2 && raw.chars.iter().any(char::is_ascii_digit) {
        let plain: String = raw.chars.iter().map(char::to_ascii_lowercase).collect();
        if words::usual(&plain) != plain { text = plain; }
    }
    text.retain(|char| char.is_ascii_alphanumeric());
    if text.len() > TOKEN_CHARS_MAX {
        text.truncate(TOKEN_CHARS_MAX);
        *cut = true;
    }
    text
}

const fn look_of_digit(char: char) -> char {
    match char {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        other => other,
    }
}

/// Joins letters that stand alone, three or more in a row, and two that are a legal form.
fn close_run(all: &mut Vec<Text>, singles: usize, cut: &mut bool) {
    if singles < 2 {
        return;
    }
    let from = all.len() - singles;
    let mut joined: String = all[from..].iter().map(|token| &*token.text).collect();
    if singles >= 3 || words::is_form(&joined) {
        all.truncate(from);
        if joined.len() > TOKEN_CHARS_MAX {
            joined.truncate(TOKEN_CHARS_MAX);
            *cut = true;
        }
        all.push(Text { text: joined.into(), read: false });
    }
}

/// Tokens in their usual spelling; tens and units in words are one number.
fn usual(all: Vec<Text>) -> Vec<Text> {
    let mut usual: Vec<Text> = Vec::with_capacity(all.len());
    let mut tens = false;
    for token in all {
        let word = words::usual(&token.text);
        let unit = word.len() == 1 && word.as_bytes()[0].is_ascii_digit();
        if let Some(last) = usual.last_mut().filter(|_| tens && unit) {
            last.text = format!("{}{word}", &last.text[..1]).into();
            tens = false;
            continue;
        }
        tens = word.len() == 2 && word.ends_with('0') && *word != *token.text;
        usual.push(Text { text: word.into(), read: token.read });
    }
    usual
}

/// Leaves out legal forms and forms of address, unless there is nothing else.
fn without_forms(all: &[Text]) -> Vec<Box<str>> {
    let mut kept = Vec::with_capacity(all.len());
    let texts: Vec<&str> = all.iter().map(|token| &*token.text).collect();
    let mut at = 0;
    while let Some(token) = all.get(at) {
        if let Some(words) = words::phrase_at(&texts[at..]) {
            at += words;
            continue;
        }
        let silent = words::is_form(&token.text) || words::is_silent(&token.text);
        if token.read || !silent {
            kept.push(token.text.clone());
        }
        at += 1;
    }
    if kept.is_empty() { all.iter().map(|token| token.text.clone()).collect() } else { kept }
}

