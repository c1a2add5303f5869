//! Findings for files of a catalogue folder that nothing reads.

use crate::spelling::nearest;
use crate::{Code, Fault};

/// The folders of a catalogue.
const FOLDERS: [&str; 9] =
    ["flags", "segments", "settings", "lists", "tables", "rules", "flows", "aliases", "models"];

/// Other files that people keep beside a catalogue.
const BESIDE: [&str; 6] = ["LICENSE", "NOTICE", "CODEOWNERS", "Makefile", "Dockerfile", "justfile"];

/// A finding for a file that nothing reads; none for those that no catalogue is in.
pub fn finding(path: &str) -> Option<Fault> {
    let is_hidden = path.split('/').any(|part| part.starts_with('.'));
    let file = path.rsplit('/').next().unwrap_or(path);
    let is_known = BESIDE.contains(&file)
        || file.ends_with('~')
        || [".md", ".txt", ".partial"].iter().any(|ending| file.ends_with(ending))
        || path.starts_with("schemas/");
    if is_hidden || is_known {
        return None;
    }
    let message = match path.split_once('/') {
        None => format!("nothing reads a file here; {}", by_ending(path)),
        Some((folder, rest)) => match nearest(folder, FOLDERS) {
            Some(near) => {
                format!("nothing reads the folder {folder}/; move the file to {near}/{rest}")
            }
            None => format!(
                "nothing reads the folder {folder}/; the folders are {}",
                FOLDERS.map(|folder| format!("{folder}/")).join(", ")
            ),
        },
    };
    Some(Fault::new(Code::FileUnread, "", message).at(path, 1, 1))
}

fn by_ending(file: &str) -> String {
    let folders = if file.ends_with(".flagd.json") {
        "flags/"
    } else if file.ends_with(".json") {
        "flags/ (as NAME.flagd.json), segments/ or settings/"
    } else if file.ends_with(".csv") {
        "lists/ or tables/"
    } else if file.ends_with(".yaml") || file.ends_with(".yml") {
        "rules/, flows/ or aliases/"
    } else {
        return "move it out of the catalogue folder".to_owned();
    };
    format!("move it to {folders}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_nothing_reads_are_named_with_the_nearest_folder() {
        let check = |path: &str, part: Option<&str>| match (finding(path), part) {
            (None, None) => {}
            (Some(fault), Some(part)) => assert!(fault.message.contains(part), "{fault}"),
            (found, _) => panic!("{path}: {found:?}"),
        };
        check("rule/x.yaml", Some("rules/x.yaml"));
        check("Rules/x.yaml", Some("rules/x.yaml"));
        check("list/a.csv", Some("lists/a.csv"));
        check("flag/a.flagd.json", Some("flags/a.flagd.json"));
        check("flows.yaml", Some("rules/, flows/"));
        check("codes.csv", Some("lists/ or tables/"));
        check("other/x.yaml", Some("the folders are"));
        check("README.md", None);
        check(".gitignore", None);
        check("schemas/flow.schema.json", None);
    }
}
