//! Names as tokens: one script, no marks, no legal forms.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The most tokens of a name; further ones are not read.
pub const TOKENS_MAX: usize = 12;
/// The longest token in characters; the rest of it is not read.
pub const TOKEN_CHARS_MAX: usize = 32;
/// The most characters of a name that are read.
const CHARS_MAX: usize = 512;

/// Titles and legal forms, which say nothing about who somebody is. Sorted.
const SILENT: &[&str] = &[
    "ab",
    "ag",
    "as",
    "bhd",
    "bv",
    "co",
    "company",
    "corp",
    "corporation",
    "dr",
    "ets",
    "fze",
    "gmbh",
    "inc",
    "incorporated",
    "jsc",
    "kg",
    "limited",
    "llc",
    "llp",
    "lp",
    "ltd",
    "ltda",
    "mr",
    "mrs",
    "ms",
    "nv",
    "of",
    "ojsc",
    "ooo",
    "oy",
    "pjsc",
    "plc",
    "pte",
    "pty",
    "pvt",
    "sa",
    "sarl",
    "sas",
    "sdn",
    "sl",
    "spa",
    "srl",
    "the",
    "zao",
];

/// Words that many companies share; they count for a third. Sorted.
const GENERIC: &[&str] = &[
    "and",
    "bank",
    "bin",
    "center",
    "centre",
    "commerce",
    "commercial",
    "construction",
    "consulting",
    "development",
    "distribution",
    "electronics",
    "energy",
    "engineering",
    "enterprise",
    "enterprises",
    "export",
    "exports",
    "financial",
    "foundation",
    "general",
    "global",
    "group",
    "holding",
    "holdings",
    "import",
    "industrial",
    "industries",
    "industry",
    "international",
    "invest",
    "investment",
    "investments",
    "logistics",
    "machinery",
    "management",
    "maritime",
    "national",
    "oil",
    "partners",
    "petroleum",
    "products",
    "resources",
    "service",
    "services",
    "shipping",
    "solutions",
    "supplies",
    "supply",
    "systems",
    "technologies",
    "technology",
    "trade",
    "traders",
    "trading",
    "transport",
    "world",
];

/// Whether a token is a word that many companies share.
pub fn is_generic(token: &str) -> bool {
    GENERIC.binary_search(&token).is_ok()
}

/// The tokens of a name in its order, in Latin letters without marks; titles and legal forms are
/// left out unless there is nothing else.
pub fn tokens(name: &str) -> Vec<Box<str>> {
    let mut all: Vec<Box<str>> = Vec::new();
    let mut token = String::new();
    let mut chars = 0usize;
    let folded = name.chars().take(CHARS_MAX).nfkd().filter(|char| !is_combining_mark(*char));
    for char in folded.flat_map(char::to_lowercase).chain(std::iter::once(' ')) {
        if char.is_alphanumeric() {
            if chars < TOKEN_CHARS_MAX {
                match latin(char) {
                    Some(text) => token.push_str(text),
                    None => token.push(char),
                }
                chars += 1;
            }
        } else if !matches!(char, '\'' | '\u{2019}' | '\u{2bc}' | '`' | '\u{b4}' | '\u{ad}') {
            // An apostrophe joins (O'Brien is OBrien), everything else parts.
            if !token.is_empty() {
                all.push(token.as_str().into());
                token.clear();
            }
            chars = 0;
        }
    }
    let telling = |token: &str| SILENT.binary_search(&token).is_err();
    if all.iter().any(|token| telling(token)) {
        all.retain(|token| telling(token));
    }
    all.truncate(TOKENS_MAX);
    all
}

/// A country code in capitals; `None` if there is none.
pub fn country(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(16).flat_map(char::to_uppercase).collect())
}

/// An identifier without punctuation and in capitals; `None` if nothing is left.
pub fn identifier(text: &str) -> Option<Box<str>> {
    let kept = text.chars().filter(|char| char.is_alphanumeric()).take(64);
    let folded: String = kept.flat_map(char::to_uppercase).collect();
    (!folded.is_empty()).then(|| folded.into())
}

/// A letter in Latin script as passports write it; `None` for letters that stay as they are.
const fn latin(char: char) -> Option<&'static str> {
    Some(match char {
        // Latin letters that decomposition leaves alone.
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ł' => "l",
        'ı' => "i",
        'ħ' => "h",
        'ŧ' => "t",
        'ŋ' => "n",
        'ə' => "a",
        // Cyrillic; й, ё and ї have lost their marks by now.
        'а' => "a",
        'б' => "b",
        'в' => "v",
        'г' | 'ґ' => "g",
        'д' => "d",
        'е' | 'э' => "e",
        'ж' => "zh",
        'з' => "z",
        'и' | 'і' | 'ј' => "i",
        'к' => "k",
        'л' => "l",
        'м' => "m",
        'н' => "n",
        'о' => "o",
        'п' => "p",
        'р' => "r",
        'с' => "s",
        'т' => "t",
        'у' | 'ў' => "u",
        'ф' => "f",
        'х' => "kh",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ъ' | 'ь' => "",
        'ы' => "y",
        'ю' => "yu",
        'я' => "ya",
        'є' => "ye",
        // Greek.
        'α' => "a",
        'β' => "v",
        'γ' => "g",
        'δ' => "d",
        'ε' => "e",
        'ζ' => "z",
        'η' | 'ι' => "i",
        'θ' => "th",
        'κ' => "k",
        'λ' => "l",
        'μ' => "m",
        'ν' => "n",
        'ξ' => "x",
        'ο' | 'ω' => "o",
        'π' => "p",
        'ρ' => "r",
        'σ' | 'ς' => "s",
        'τ' => "t",
        'υ' => "y",
        'φ' => "f",
        'χ' => "ch",
        'ψ' => "ps",
        _ => return None,
    })
}

/// What is left of a token when it is spelled as it sounds: consonants without doubles, those that
/// scripts and languages mix up made one. `None` for tokens too short to tell apart that way.
pub fn skeleton(token: &str) -> Option<String> {
    let mut bones = String::new();
    let mut last = ' ';
    for char in token.chars() {
        let bone = match char {
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' | 'h' => ' ',
            'c' | 'q' | 'g' => 'k',
            'z' | 'x' => 's',
            'w' | 'f' => 'v',
            'd' => 't',
            'j' => 'i',
            other => other,
        };
        if bone != ' ' && char != last {
            bones.push(bone);
        }
        last = char;
    }
    (bones.chars().count() >= 2 && token.chars().count() >= 4).then_some(bones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_latin_tokens() {
        let check = |name: &str, expected: &[&str]| {
            assert_eq!(
                tokens(name).iter().map(AsRef::as_ref).collect::<Vec<_>>(),
                expected,
                "{name}"
            );
        };
        check("", &[]);
        check("  ... ", &[]);
        check("Ivan  PETROV", &["ivan", "petrov"]);
        check("Müller & Söhne GmbH", &["muller", "sohne"]);
        check("O'Brien-Smith", &["obrien", "smith"]);
        check("Łukasz Ørsted Weiß", &["lukasz", "orsted", "weiss"]);
        check("Иван Щукин", &["ivan", "shchukin"]);
        check("Андрей", &["andrei"]);
        check("Γιώργος", &["giorgos"]);
        check("Al-Qasim Trading Co., Ltd.", &["al", "qasim", "trading"]);
        check("The Company", &["the", "company"]);
        check("李 小龙", &["李", "小龙"]);
        check(&"a ".repeat(40), &["a"; TOKENS_MAX]);
        assert_eq!(tokens(&"x".repeat(600))[0].len(), TOKEN_CHARS_MAX);
    }

    #[test]
    fn skeletons_join_spellings_of_one_sound() {
        let check = |one: &str, other: &str, same: bool| {
            assert_eq!(
                skeleton(one) == skeleton(other) && skeleton(one).is_some(),
                same,
                "{one} {other}"
            );
        };
        check("mohammed", "muhammad", true);
        check("kasim", "qasim", true);
        check("petrov", "petrow", true);
        check("yusuf", "youssef", true);
        check("petrov", "pavlov", false);
        check("ivan", "ivan", true);
        check("ann", "ann", false);
    }

    #[test]
    fn tables_are_sorted() {
        assert!(SILENT.is_sorted() && GENERIC.is_sorted());
    }

    #[test]
    fn qualifiers_fold() {
        assert_eq!(identifier(" gb-123 456/7 ").as_deref(), Some("GB1234567"));
        assert_eq!(identifier(" - "), None);
        assert_eq!(country(" de ").as_deref(), Some("DE"));
        assert_eq!(country(" "), None);
    }
}
