//! Letters of all scripts as Latin letters, and how far that reading can be trusted.
//!
//! Latin, Cyrillic and Greek letters are *folded*: two spellings of a name become nearly the same
//! letters. Every other script is only *read*: vowels may be missing (Arabic, Hebrew), letters may
//! have no counterpart (f in Georgian), a sign may have several readings (Han), or words may have no
//! spaces (Thai, Khmer). A read name that matches is a match; one that does not match has not been
//! compared.

use unicode_normalization::UnicodeNormalization;
use unicode_script::{Script, UnicodeScript};

/// Whether a character shows nothing: the property `Default_Ignorable_Code_Point` of Unicode 16
/// (`DerivedCoreProperties.txt`), the other format characters (`Cf`), control characters other than
/// white space, and the blank of Braille.
pub const fn is_invisible(char: char) -> bool {
    matches!(char,
        '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The script of a letter for the purpose of comparing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Digits, and letters that belong to no script.
    Common,
    Latin,
    Cyrillic,
    Greek,
    /// A script whose letters are read and not folded.
    Read(Script),
}

/// The alphabet of a character.
pub fn alphabet(char: char) -> Alphabet {
    if char.is_ascii() {
        return if char.is_ascii_alphabetic() { Alphabet::Latin } else { Alphabet::Common };
    }
    match char.script() {
        Script::Common | Script::Inherited => Alphabet::Common,
        Script::Latin => Alphabet::Latin,
        Script::Cyrillic => Alphabet::Cyrillic,
        Script::Greek => Alphabet::Greek,
        other => Alphabet::Read(other),
    }
}

/// Appends a character as small Latin letters and digits, without its marks.
pub fn push_latin(char: char, text: &mut String) {
    if char.is_ascii() {
        text.push(char.to_ascii_lowercase());
        return;
    }
    let base = match alphabet(char) {
        // й is и with a mark, as ü is u: passports write both without.
        Alphabet::Latin | Alphabet::Cyrillic | Alphabet::Greek => {
            std::iter::once(char).nfd().next().unwrap_or(char)
        }
        _ => char,
    };
    for small in base.to_lowercase() {
        match passport(small) {
            Some(latin) => text.push_str(latin),
            None => {
                let ascii = any_ascii::any_ascii_char(small);
                text.extend(
                    ascii
                        .chars()
                        .filter(char::is_ascii_alphanumeric)
                        .map(|c| c.to_ascii_lowercase()),
                );
            }
        }
    }
}

/// Letters that passports write otherwise than the library reads them; `None` for all others.
const fn passport(char: char) -> Option<&'static str> {
    Some(match char {
        'ə' => "a",
        'đ' | 'ð' => "d",
        // Cyrillic.
        'э' => "e",
        'и' | 'і' | 'ј' => "i",
        'у' | 'ў' => "u",
        'х' => "kh",
        'ц' => "ts",
        'щ' => "shch",
        'ъ' | 'ь' => "",
        'ы' => "y",
        'ю' => "yu",
        'я' => "ya",
        'є' => "ye",
        // Greek.
        'β' => "v",
        'η' | 'ι' => "i",
        'ξ' => "x",
        'ω' => "o",
        'υ' => "y",
        'φ' => "f",
        'χ' => "ch",
        'ψ' => "ps",
        _ => return None,
    })
}

/// The Latin letter that a letter of another alphabet looks like (Unicode Technical Standard 39,
/// `confusables.txt`, and the small letters that look like Latin small capitals).
pub const fn latin_look(char: char) -> Option<char> {
    Some(match char {
        'А' | 'а' | 'Α' | 'α' => 'a',
        'В' | 'в' | 'Β' | 'Ь' | 'ь' => 'b',
        'С' | 'с' | 'Ϲ' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'Е' | 'е' | 'Ε' | 'є' | 'Є' | 'ε' | 'ҽ' => 'e',
        'ց' => 'g',
        'Н' | 'н' | 'Η' | 'һ' | 'Һ' | 'հ' => 'h',
        'І' | 'і' | 'Ι' | 'ι' | 'Ӏ' | 'ӏ' => 'i',
        'Ј' | 'ј' | 'Ϳ' | 'ϳ' | 'յ' => 'j',
        'К' | 'к' | 'Κ' | 'κ' => 'k',
        'Լ' => 'l',
        'М' | 'м' | 'Μ' => 'm',
        'Ν' | 'п' | 'η' | 'ո' => 'n',
        'О' | 'о' | 'Ο' | 'ο' | 'σ' | 'օ' | 'Օ' => 'o',
        'Р' | 'р' | 'Ρ' | 'ρ' => 'p',
        'ԛ' | 'զ' => 'q',
        'г' | 'ѓ' => 'r',
        'Ѕ' | 'ѕ' | 'Տ' => 's',
        'Т' | 'т' | 'Τ' | 'τ' => 't',
        'υ' | 'ս' | 'Ս' => 'u',
        'ν' | 'Ѵ' | 'ѵ' => 'v',
        'ԝ' | 'ѡ' | 'ω' | 'ш' => 'w',
        'Х' | 'х' | 'Χ' | 'χ' => 'x',
        'У' | 'у' | 'Υ' | 'γ' | 'ү' | 'Ү' => 'y',
        'Ζ' => 'z',
        _ => return None,
    })
}

/// The Cyrillic letter that a Latin letter looks like.
pub const fn cyrillic_look(char: char) -> Option<char> {
    Some(match char {
        'A' | 'a' => 'а',
        'B' => 'в',
        'C' | 'c' => 'с',
        'E' | 'e' => 'е',
        'H' => 'н',
        'I' | 'i' => 'і',
        'J' | 'j' => 'ј',
        'K' | 'k' => 'к',
        'M' => 'м',
        'O' | 'o' => 'о',
        'P' | 'p' => 'р',
        'S' | 's' => 'ѕ',
        'T' => 'т',
        'X' | 'x' => 'х',
        'Y' | 'y' => 'у',
        _ => return None,
    })
}
