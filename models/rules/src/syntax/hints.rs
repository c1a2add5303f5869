//! Hints for words of other languages: what to write instead.

/// What stands where an operator or the end of the expression belongs, and what to write instead.
/// `next` is the word behind it.
pub(super) fn for_operator(word: &str, next: Option<&str>) -> Option<&'static str> {
    let next = next.unwrap_or_default();
    Some(match word.to_lowercase().as_str() {
        "and" => "both is written &&",
        "or" => "either is written ||",
        "xor" => "one of two conditions but not both is written a != b",
        "not" if next.eq_ignore_ascii_case("in") => {
            "that a value is not in a list is written !(country in [\"GB\", \"US\"])"
        }
        "not" => "the opposite of a condition is written !(condition)",
        "in" => "in is written in small letters: country in [\"GB\", \"US\"]",
        "between" => "a range is written amount >= 10 && amount <= 20",
        "like" | "ilike" | "rlike" | "regexp" | "similar" => {
            "parts of a text are asked with name.contains(\"part\"), name.startsWith(\"start\"), \
             name.endsWith(\"end\") or name.matches(r\"pattern\")"
        }
        "contains" | "startswith" | "endswith" | "matches" | "starts" | "ends" | "begins" => {
            "texts are asked with calls: name.contains(\"part\"), name.startsWith(\"start\"), \
             name.endsWith(\"end\"), name.matches(r\"pattern\")"
        }
        "is" => "whether a field is present is written has(field), and absent !has(field)",
        "equals" | "eq" => "equality is written ==",
        "ne" | "neq" => "inequality is written !=",
        "lt" => "less is written <",
        "le" | "lte" => "at most is written <=",
        "gt" => "more is written >",
        "ge" | "gte" => "at least is written >=",
        "mod" => "the rest of a division is written %",
        "div" => "division is written /",
        "then" | "else" | "when" => "a choice is written condition ? value : other",
        _ => return None,
    })
}

/// What stands where a value belongs, and what to write instead.
pub(super) fn for_value(word: &str) -> Option<&'static str> {
    Some(match word {
        "not" | "NOT" | "Not" => "the opposite of a condition is written !(condition)",
        "and" | "AND" | "And" => "both is written &&",
        "or" | "OR" | "Or" => "either is written ||",
        "if" | "IF" | "case" | "CASE" => "a choice is written condition ? value : other",
        "exists" | "EXISTS" => "whether a field is present is written has(field)",
        _ => return None,
    })
}

/// A sign of another language at the start of a text, and what to write instead.
pub(super) fn for_sign(rest: &str) -> Option<&'static str> {
    const SIGNS: [(&str, &str); 9] = [
        ("<>", "found <>; inequality is written !="),
        ("=<", "found =<; at most is written <="),
        ("=>", "found =>; at least is written >="),
        ("=~", "found =~; a pattern is asked with name.matches(r\"pattern\")"),
        ("~=", "found ~=; a pattern is asked with name.matches(r\"pattern\")"),
        ("!~", "found !~; a pattern is asked with !name.matches(r\"pattern\")"),
        ("===", "found ===; equality is written =="),
        ("!==", "found !==; inequality is written !="),
        ("**", "found **; there are no powers: multiply"),
    ];
    SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)).map(|(_, hint)| *hint)
}

/// What to write instead of a function of another language.
pub(crate) fn for_function(name: &str) -> Option<&'static str> {
    Some(match name.to_lowercase().as_str() {
        "len" | "length" | "count_chars" | "strlen" => "write size(text)",
        "exists" | "isset" | "defined" | "present" | "isnotnull" | "is_not_null" => {
            "write has(field)"
        }
        "isnull" | "is_null" | "isempty" | "is_empty" | "isna" | "missing" => "write !has(field)",
        "now" | "today" | "current_date" | "current_timestamp" | "getdate" => {
            "the time of the decision is as_of"
        }
        "upper" | "uppercase" | "touppercase" | "upperascii" | "lowercase" | "tolowercase"
        | "lowerascii" | "lcase" | "ucase" => "write text.lower()",
        "like" | "regex" | "regexp" | "re" | "regexp_like" => "write text.matches(r\"pattern\")",
        "not" => "the opposite of a condition is written !(condition)",
        "year" => "write time.getFullYear()",
        "month" => "write time.getMonth(), where January is 0",
        "day" => "write time.getDate()",
        "hour" | "hours" => "write time.getHours()",
        "weekday" | "dayofweek" | "day_of_week" => "write time.getDayOfWeek(), where Sunday is 0",
        "count" => "write window_count(\"24h\", key)",
        "sum" => "write window_sum(\"24h\", key, amount)",
        "avg" | "mean" | "average" => "write window_mean(\"24h\", key, amount)",
        "distinct" => "write window_distinct(\"24h\", key, field)",
        "if" | "iif" | "case" => "a choice is written condition ? value : other",
        "string" | "str" | "text" | "tostring" => "there is no conversion to text",
        "float" | "number" | "numeric" => "write double(number) or decimal(number)",
        _ => return None,
    })
}

/// What to write instead of a name of another language.
pub(crate) fn for_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "True" | "TRUE" | "yes" | "Yes" => "write true",
        "False" | "FALSE" | "no" | "No" => "write false",
        "NULL" | "Null" | "None" | "nil" | "undefined" => {
            "there is no null: has(field) says whether a field is present"
        }
        "now" | "today" => "the time of the decision is as_of",
        _ => return None,
    })
}
