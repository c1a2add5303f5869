//! Words that say little about who somebody is: legal forms, titles, particles, words that many
//! companies share, and numbers in words.
//!
//! The tables follow general sources and no test data. Legal forms: the GLEIF list of entity legal
//! forms (ISO 20275) with its abbreviations and local names. Titles: the title field of the United
//! Nations Security Council Consolidated List, and English forms of address. Particles: the notes on
//! prefixes in IFLA, "Names of Persons". Transliterations are those of [`super::script`].

/// Legal forms of one word, and their abbreviations. Sorted.
const FORMS: &[&str] = &[
    "ab",
    "ag",
    "aktiebolag",
    "aktiengesellschaft",
    "aktieselskab",
    "ao",
    "aps",
    "as",
    "asa",
    "bhd",
    "bv",
    "bvba",
    "co",
    "company",
    "corp",
    "corporation",
    "cv",
    "doo",
    "eeig",
    "ehf",
    "ets",
    "eurl",
    "fzc",
    "fzco",
    "fze",
    "gbr",
    "gmbh",
    "hf",
    "inc",
    "incorporated",
    "jsc",
    "kft",
    "kg",
    "kgaa",
    "kk",
    "kommanditgesellschaft",
    "limited",
    "llc",
    "lllp",
    "llp",
    "lp",
    "ltd",
    "ltda",
    "mbh",
    "nv",
    "oao",
    "ohg",
    "ojsc",
    "ood",
    "ooo",
    "osakeyhtio",
    "oy",
    "oyj",
    "pao",
    "pcl",
    "pjsc",
    "plc",
    "pllc",
    "pt",
    "pte",
    "pty",
    "pvt",
    "sa",
    "sab",
    "sae",
    "sal",
    "saoc",
    "sarl",
    "sas",
    "sca",
    "scs",
    "sdn",
    "se",
    "sl",
    "slu",
    "snc",
    "spa",
    "sprl",
    "spzoo",
    "srl",
    "sro",
    "tov",
    "uab",
    "ug",
    "zao",
    "zrt",
];

/// Legal forms of several words, most words first.
const PHRASES: &[&[&str]] = &[
    &["gesellschaft", "mit", "beschrankter", "haftung"],
    &["obshchestvo", "s", "ogranichennoi", "otvetstvennostyu"],
    &["societatea", "cu", "raspundere", "limitata"],
    &["societate", "cu", "raspundere", "limitata"],
    &["societe", "a", "responsabilite", "limitee"],
    &["sociedad", "de", "responsabilidad", "limitada"],
    &["spolka", "z", "ograniczona", "odpowiedzialnoscia"],
    &["tovarystvo", "z", "obmezhenoiu", "vidpovidalnistiu"],
    &["open", "joint", "stock", "company"],
    &["closed", "joint", "stock", "company"],
    &["public", "joint", "stock", "company"],
    &["sa", "de", "cv"],
    &["sp", "z", "oo"],
    &["sp", "zoo"],
    &["publichnoe", "aktsionernoe", "obshchestvo"],
    &["otkrytoe", "aktsionernoe", "obshchestvo"],
    &["zakrytoe", "aktsionernoe", "obshchestvo"],
    &["joint", "stock", "company"],
    &["limited", "liability", "company"],
    &["limited", "liability", "partnership"],
    &["public", "limited", "company"],
    &["private", "limited", "company"],
    &["societa", "per", "azioni"],
    &["aktsionernoe", "obshchestvo"],
    &["besloten", "vennootschap"],
    &["limited", "partnership"],
    &["naamloze", "vennootschap"],
    &["private", "limited"],
    &["sociedad", "anonima"],
    &["sociedade", "anonima"],
    &["societe", "anonyme"],
];

/// Forms of address, and articles of English. Sorted.
const SILENT: &[&str] = &["dr", "mr", "mrs", "ms", "of", "prof", "the"];

/// Titles, and prefixes of ships. Sorted.
const TITLES: &[&str] = &[
    "alhaj",
    "ayatollah",
    "capt",
    "captain",
    "col",
    "colonel",
    "eng",
    "engineer",
    "excellency",
    "gen",
    "general",
    "hadji",
    "haj",
    "haji",
    "hajj",
    "hajji",
    "imam",
    "king",
    "lieutenant",
    "lord",
    "madam",
    "major",
    "maulana",
    "maulavi",
    "maulawi",
    "minister",
    "miss",
    "mount",
    "mt",
    "mufti",
    "mullah",
    "mv",
    "president",
    "prime",
    "prince",
    "princess",
    "professor",
    "qari",
    "queen",
    "saint",
    "sayed",
    "sayid",
    "sayyed",
    "sayyid",
    "shaikh",
    "shaykh",
    "sheik",
    "sheikh",
    "sir",
    "ss",
    "st",
];

/// Particles of names. Sorted.
const PARTICLES: &[&str] = &[
    "a", "al", "and", "at", "bin", "bint", "d", "da", "de", "del", "den", "der", "di", "do", "dos",
    "du", "e", "el", "la", "le", "lo", "los", "s", "ul", "van", "von", "y", "z", "zu",
];

/// Words that many companies share. Sorted.
const GENERIC: &[&str] = &[
    "agency",
    "asset",
    "association",
    "bank",
    "banking",
    "business",
    "capital",
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
    "finance",
    "financial",
    "foundation",
    "fund",
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
    "organization",
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
    "trust",
    "ventures",
    "world",
];

/// What a word says about who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It tells.
    Telling,
    /// Many companies share it.
    Generic,
    /// A particle or a title.
    Particle,
}

fn has(table: &[&str], word: &str) -> bool {
    table.binary_search(&word).is_ok()
}

/// Whether a word is a legal form.
pub fn is_form(word: &str) -> bool {
    has(FORMS, word)
}

/// How many words at the beginning are a legal form of several words.
pub fn phrase_at(words: &[&str]) -> Option<usize> {
    let begins = |phrase: &&&[&str]| {
        words.len() >= phrase.len() && phrase.iter().zip(words).all(|(one, other)| one == other)
    };
    PHRASES.iter().find(begins).map(|phrase| phrase.len())
}

/// Whether a word is left out like a legal form.
pub fn is_silent(word: &str) -> bool {
    has(SILENT, word)
}

/// What kind of word it is.
pub fn kind(word: &str) -> Kind {
    if has(PARTICLES, word) || has(TITLES, word) {
        Kind::Particle
    } else if has(GENERIC, word) {
        Kind::Generic
    } else {
        Kind::Telling
    }
}

/// A hash of how a word sounds: its consonants without doubles, those that scripts and languages mix
/// up made one. 0 for words too short to tell apart that way.
pub fn sound(word: &str) -> u64 {
    let (mut hash, mut bones, mut last) = (0xcbf2_9ce4_8422_2325u64, 0usize, 0u8);
    for byte in word.bytes() {
        let bone = match byte {
            b'a' | b'e' | b'i' | b'o' | b'u' | b'y' | b'h' => 0,
            b'c' | b'q' | b'g' => b'k',
            b'z' | b'x' => b's',
            b'w' | b'f' => b'v',
            b'd' => b't',
            b'j' => b'i',
            other => other,
        };
        if bone != 0 && byte != last {
            hash = (hash ^ u64::from(bone)).wrapping_mul(0x0100_0000_01b3);
            bones += 1;
        }
        last = byte;
    }
    if bones >= 2 && word.len() >= 4 { hash } else { 0 }
}

/// A word in its usual spelling: numbers in digits, abbreviations whole.
pub fn usual(word: &str) -> &str {
    match word {
        "ben" | "ibn" => "bin",
        "intl" | "int" => "international",
        "natl" => "national",
        "organisation" | "org" => "organization",
        "dept" => "department",
        "govt" => "government",
        "assoc" => "association",
        "bros" => "brothers",
        "mfg" => "manufacturing",
        "univ" => "university",
        "centre" => "center",
        "svcs" => "services",
        "mgmt" => "management",
        "mgt" => "management",
        "first" | "1st" | "one" => "1",
        "second" | "2nd" | "two" => "2",
        "third" | "3rd" | "three" => "3",
        "fourth" | "4th" | "four" => "4",
        "fifth" | "5th" | "five" => "5",
        "sixth" | "6th" | "six" => "6",
        "seventh" | "7th" | "seven" => "7",
        "eighth" | "8th" | "eight" => "8",
        "ninth" | "9th" | "nine" => "9",
        "tenth" | "10th" | "ten" => "10",
        "eleven" => "11",
        "twelve" => "12",
        "twenty" => "20",
        "thirty" => "30",
        "forty" => "40",
        "fifty" => "50",
        "sixty" => "60",
        "seventy" => "70",
        "eighty" => "80",
        "ninety" => "90",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [FORMS, SILENT, TITLES, PARTICLES, GENERIC] {
            assert!(table.is_sorted());
        }
        assert!(PHRASES.iter().all(|phrase| phrase.len() > 1));
    }

    #[test]
    fn words_that_sound_alike_have_one_hash() {
        let check = |one: &str, other: &str, same: bool| {
            assert_eq!(sound(one) == sound(other) && sound(one) != 0, same, "{one} {other}");
        };
        check("mohammed", "muhammad", true);
        check("kasim", "qasim", true);
        check("petrov", "petrow", true);
        check("yusuf", "youssef", true);
        check("petrov", "pavlov", false);
        check("ann", "ann", false);
    }
}
