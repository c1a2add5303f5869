//! Text as it is shown on a terminal and in JSON.
//!
//! Values come from files, requests and other nodes. A control character in one of them can move the
//! cursor, and a direction mark can show a line in another order than it is stored: both are escaped.
//! Styles are therefore carried as marks of no width and become escape sequences last, which also
//! keeps the columns of tables in place, since a mark has no width.

use anstyle::{AnsiColor, Style};

/// The first mark. The range is not assigned by Unicode and has no width.
const FIRST_MARK: u32 = 0xe0090;

/// The styles that have a mark, and none of which is the end of one.
const STYLES: [Style; 5] = [
    AnsiColor::Green.on_default().bold(),
    AnsiColor::Yellow.on_default().bold(),
    AnsiColor::Red.on_default().bold(),
    Style::new().dimmed(),
    Style::new().bold(),
];

/// A text between the marks of a style.
pub fn marked(style: Style, text: &str) -> String {
    let position = STYLES.iter().position(|known| *known == style);
    match (position.and_then(mark), mark(STYLES.len())) {
        (Some(start), Some(end)) => format!("{start}{text}{end}"),
        _ => text.to_owned(),
    }
}

fn mark(position: usize) -> Option<char> {
    char::from_u32(FIRST_MARK + u32::try_from(position).ok()?)
}

/// A text for a terminal: marks become styles, or nothing, and what cannot be seen is escaped.
pub fn for_terminal(text: &str, coloured: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let position = u32::from(character).checked_sub(FIRST_MARK).map(|at| at as usize);
        match position.filter(|position| *position <= STYLES.len()) {
            Some(_) if !coloured => {}
            Some(position) => match STYLES.get(position) {
                Some(style) => shown.push_str(&style.render().to_string()),
                None => shown.push_str(&Style::new().bold().render_reset().to_string()),
            },
            None if is_hidden(character) => shown.extend(character.escape_unicode()),
            None => shown.push(character),
        }
    }
    shown
}

/// JSON in which what cannot be seen is escaped. Such characters stand in strings only.
pub fn for_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if is_hidden(character) {
            let escaped = character.encode_utf16(&mut units).iter();
            shown.extend(escaped.map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a character moves the cursor, ends the line for some programs, or changes the direction.
const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{8}'
            | '\u{b}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped_and_styles_are_not() {
        let value = "a\u{1b}[2Jb\u{202e}c\r";
        assert_eq!(for_terminal(value, true), "a\\u{1b}[2Jb\\u{202e}c\\u{d}");
        assert_eq!(for_terminal("two\n\tlines é 名", true), "two\n\tlines é 名");
        let styled = marked(STYLES[2], "no\u{7}");
        assert_eq!(for_terminal(&styled, false), "no\\u{7}");
        let coloured = for_terminal(&styled, true);
        assert!(coloured.starts_with("\u{1b}[") && coloured.ends_with("\u{1b}[0m"), "{coloured:?}");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "a\u{202e}": "b\u{7f}\n\u{feff}é" });
        let shown = for_json(&value.to_string());
        assert!(shown.chars().all(|character| !is_hidden(character)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
