//! Names that resemble a mistyped one.

/// The known name that a mistyped one most probably means: equal but for case, blanks, signs between
/// words and a plural, or else within two edits (one for a short name).
#[must_use]
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let plain = plain(name);
    let length = plain.chars().count();
    let most = (length / 3).min(2);
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let other = self::plain(candidate);
        let distance = if is_same(&plain, &other) {
            0
        } else if length.abs_diff(other.chars().count()) > most {
            continue;
        } else {
            rapidfuzz::distance::osa::distance(plain.chars(), other.chars())
        };
        let is_nearer = best.is_none_or(|(least, _)| distance < least);
        if (distance == 0 || distance <= most) && is_nearer {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Whether two names differ in nothing but case, blanks, signs between words and a plural.
#[must_use]
pub fn is_alike(one: &str, other: &str) -> bool {
    is_same(&plain(one), &plain(other))
}

/// The letters and digits of a name in lower case. Dots stay: they lead from object to part.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|character| character.is_alphanumeric() || *character == '.');
    kept.flat_map(char::to_lowercase).collect()
}

/// Whether two plain names are the same word, in singular or plural.
fn is_same(one: &str, other: &str) -> bool {
    let is_plural = |plural: &str, word: &str| {
        plural.strip_prefix(word).is_some_and(|end| end == "s" || end == "es")
            || plural.strip_suffix("ies").is_some_and(|stem| word.strip_suffix('y') == Some(stem))
    };
    one == other || is_plural(one, other) || is_plural(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["value", "expires", "comment", "aliases", "country", "then.points", "id"];
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(nearest(name, known), expected, "{name}");
        };
        check("Aliases", Some("aliases"));
        check("alias", Some("aliases"));
        check("expiry", Some("expires"));
        check("expire", Some("expires"));
        check("Expires ", Some("expires"));
        check("countries", Some("country"));
        check("coutnry", Some("country"));
        check("Then.Points", Some("then.points"));
        check("then points", Some("then.points"));
        check("vaule", Some("value"));
        check("comments", Some("comment"));
        check("ids", Some("id"));
        check("ip", None);
        check("amount", None);
        check("note", None);
    }
}
