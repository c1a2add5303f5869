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

/// So many words, all short, are pieces of longer ones.
const PIECES_MIN: usize = 4;
/// Pieces and letters of a name that are read; a name with more is cut.
const RAWS_MAX: usize = 256;
const LETTERS_MAX: usize = 2_048;
/// Characters of a name that are read, those that show nothing included; a name with more is cut.
pub const READ_MAX: usize = 4_096;

/// A name as it is compared.
#[derive(Debug, Clone, Default)]
pub struct Folded {
    /// Tokens in their order.
    pub tokens: Vec<Box<str>>,
    /// The first script that was only read, if there is one.
    pub read: Option<Script>,
    /// Part of the name was left out.
    pub cut: bool,
    /// How many bytes were read, at most [`READ_MAX`] characters.
    pub letters: usize,
}

/// A token before its letters are made Latin.
#[derive(Default)]
struct Raw {
    chars: Vec<char>,
    latin: usize,
    other: usize,
    /// A script among its letters that is only read.
    read: Option<Script>,
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
    let end = name.char_indices().nth(READ_MAX).map_or(name.len(), |(end, _)| end);
    folded.cut = end < name.len();
    folded.letters = end;
    let name = &name[..end];
    let raws = split(name, &mut folded);
    let some_latin = raws.iter().any(|raw| raw.latin > 0 && raw.other == 0);
    let mut all: Vec<Text> = Vec::with_capacity(raws.len());
    let mut singles = 0usize;
    for raw in &raws {
        let disguise = Disguise::of(raw, some_latin);
        let read = raw.read.filter(|_| !matches!(disguise, Disguise::Latin));
        folded.read = folded.read.or(read);
        let text = latin(raw, &disguise, &mut folded.cut);
        if text.is_empty() {
            continue;
        }
        let single = text.len() == 1 && text.as_bytes()[0].is_ascii_alphabetic();
        if !single {
            close_run(&mut all, singles, &mut folded.cut);
            singles = 0;
        }
        singles += usize::from(single);
        all.push(Text { text: text.into(), read: read.is_some() });
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
        if char.is_alphanumeric()
            || is_combining_mark(char)
            || matches!(char, '\u{1f100}'..='\u{1f1ff}' | '@' | '$')
        {
            letters += 1;
            match of {
                Alphabet::Common => {}
                Alphabet::Latin => raw.latin += 1,
                Alphabet::Cyrillic | Alphabet::Greek => raw.other += 1,
                Alphabet::Read(of) => {
                    raw.other += 1;
                    raw.read = raw.read.or(Some(of));
                }
            }
            if raw.chars.len() < 2 * TOKEN_CHARS_MAX {
                raw.chars.push(char)
            } else {
                folded.cut = true
            }
        } else if char == '&' {
            if !raw.chars.is_empty() {
                raws.push(std::mem::take(&mut raw));
            }
            raws.push(Raw { chars: vec!['a', 'n', 'd'], latin: 3, ..Raw::default() });
        } else if !matches!(
            char,
            '\'' | '\u{2019}' | '\u{2018}' | '\u{2bc}' | '\u{2bb}' | '`' | '\u{b4}'
        ) && !raw.chars.is_empty()
        {
            raws.push(std::mem::take(&mut raw));
        }
        // Letters that stand alone are joined later, so the bound is on letters too.
        if raws.len() >= RAWS_MAX || letters >= LETTERS_MAX {
            folded.cut = true;
            break;
        }
    }
    if !raw.chars.is_empty() {
        raws.push(raw);
    }
    raws
}

/// A token in small Latin letters.
fn latin(raw: &Raw, disguise: &Disguise, cut: &mut bool) -> String {
    let letters = raw.latin + raw.other;
    let mut text = String::new();
    for char in &raw.chars {
        let shown = match disguise {
            Disguise::Latin if !char.is_ascii() => script::latin_look(*char),
            Disguise::Cyrillic => script::cyrillic_look(*char),
            _ => None,
        };
        // Digits and signs may be written for letters.
        let shown = shown.unwrap_or(if letters >= 2 { look_of_digit(*char) } else { *char });
        script::push_latin(shown, &mut text);
    }
    if letters >= 2 && raw.chars.iter().any(char::is_ascii_digit) {
        // An ordinal stays as it is.
        let plain: String = raw.chars.iter().map(char::to_ascii_lowercase).collect();
        if words::usual(&plain) != plain {
            text = plain;
        }
    }
    text.retain(|char| char.is_ascii_alphanumeric());
    if text.len() > TOKEN_CHARS_MAX {
        text.truncate(TOKEN_CHARS_MAX);
        *cut = true;
    }
    text
}

/// Letters of another alphabet that are written because they look alike.
enum Disguise {
    None,
    /// The word is Latin, and letters that are not stand for Latin ones.
    Latin,
    /// The word is Cyrillic, and Latin letters stand for Cyrillic ones.
    Cyrillic,
}

impl Disguise {
    fn of(raw: &Raw, some_latin: bool) -> Self {
        if raw.other == 0 {
            return Self::None;
        }
        let latin = |char: &char| {
            script::alphabet(*char) == Alphabet::Latin || script::latin_look(*char).is_some()
        };
        let all_latin = raw.chars.iter().all(|char| !char.is_alphabetic() || latin(char));
        if raw.latin == 0 {
            // A whole word of look-alikes among Latin words.
            return if some_latin && all_latin { Self::Latin } else { Self::None };
        }
        let cyrillic = |char: &char| {
            script::alphabet(*char) != Alphabet::Latin || script::cyrillic_look(*char).is_some()
        };
        let all_cyrillic = raw.chars.iter().all(cyrillic);
        match (all_latin, all_cyrillic) {
            _ if raw.read.is_some() => {
                if all_latin {
                    Self::Latin
                } else {
                    Self::None
                }
            }
            (true, false) => Self::Latin,
            (false, true) => Self::Cyrillic,
            _ if raw.latin >= raw.other => Self::Latin,
            _ => Self::Cyrillic,
        }
    }
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
    // Pieces of a name that is written apart may look like legal forms.
    let in_pieces = texts.len() >= PIECES_MIN && texts.iter().all(|text| text.len() <= 3);
    let mut at = if in_pieces { all.len() } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_latin_words() {
        let check = |name: &str, expected: &[&str]| {
            let folded = fold(name);
            let tokens: Vec<&str> = folded.tokens.iter().map(AsRef::as_ref).collect();
            assert_eq!(tokens, expected, "{name}");
        };
        check("", &[]);
        check("  ... ", &[]);
        check("Ivan  PETROV", &["ivan", "petrov"]);
        check("Müller & Söhne GmbH", &["muller", "and", "sohne"]);
        check("O'Brien-Smith", &["obrien", "smith"]);
        check("Łukasz Ørsted Weiß", &["lukasz", "orsted", "weiss"]);
        check("Иван Щукин", &["ivan", "shchukin"]);
        check("Андрей", &["andrei"]);
        check("Γιώργος", &["giorgos"]);
        check("Al-Qasim Trading Co., Ltd.", &["al", "qasim", "trading"]);
        check("The Company", &["the", "company"]);
        check("李 小龙", &["li", "xiaolong"]);
        check("ООО «Ромашка»", &["romashka"]);
        check("Société Anonyme Lumière", &["lumiere"]);
        check("A.B.C. Holdings", &["abc", "holdings"]);
        check("S.C. Johnson", &["s", "c", "johnson"]);
        check("Casıno", &["casino"]);
        check("4 Seasons", &["4", "seasons"]);
        check("twenty-one club", &["21", "club"]);
        check(&"ab abcd ".repeat(40), &["abcd"; TOKENS_MAX]);
        check("Bo ri sa Le xa", &["bo", "ri", "sa", "le", "xa"]);
    }

    #[test]
    fn what_is_left_out_is_told() {
        assert!(fold(&"word ".repeat(TOKENS_MAX + 1)).cut);
        assert!(!fold(&"word ".repeat(TOKENS_MAX)).cut);
        assert!(fold(&"x".repeat(TOKEN_CHARS_MAX + 1)).cut);
        assert!(!fold(&"x".repeat(TOKEN_CHARS_MAX)).cut);
        assert_eq!(fold("Ivan").read, None);
        assert_eq!(fold("Ivan 李").read, Some(Script::Han));
    }
}
