//! The catalogue as a folder of files, both ways.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value as Json;

use super::body::{Body, read_body};
use super::encoding::text_of;
use super::flag_files as flags;
use super::{csv_text, unread, yaml_text};
use crate::flags::parse_strict;
use crate::model::ModelObject;
use crate::{Code, Fault, Faults, ObjectId, ObjectKind, ObjectName};

/// The largest catalogue file that is read, in bytes; model files are bounded by the blob store.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// One object and the file it stands in (for a model: its folder).
#[derive(Debug, Clone, PartialEq)]
pub struct SourceObject {
    /// Kind and name.
    pub id: ObjectId,
    /// The JSON body.
    pub body: Json,
    /// File relative to the catalogue folder.
    pub file: String,
}

/// A folder that was read: its objects, and enough of its text to place faults.
#[derive(Debug, Clone, Default)]
pub struct CatalogueText {
    /// Objects in order of kind and name.
    pub objects: BTreeMap<ObjectId, SourceObject>,
    /// Findings about files, with their places: those that nothing reads, comments in doubt.
    pub remarks: Faults,
    texts: BTreeMap<String, Vec<u8>>,
}

impl CatalogueText {
    /// The same fault with file, line and column of the object's path, as far as they are known.
    #[must_use]
    pub fn locate(&self, id: &ObjectId, fault: Fault) -> Fault {
        let Some(object) = self.objects.get(id).filter(|_| fault.file.is_none()) else {
            return fault;
        };
        let Some(text) = self.texts.get(&object.file) else {
            return Fault { file: Some(object.file.clone()), ..fault };
        };
        let path = match id.kind {
            ObjectKind::Flag => format!("flags.{}.{}", id.name, fault.path),
            _ => fault.path.clone(),
        };
        let (line, column) =
            place(&object.file, text, path.trim_end_matches('.')).unwrap_or((1, 1));
        fault.at(object.file.clone(), line, column)
    }
}

/// The place of a path in a file, by its kind of text.
fn place(file: &str, text: &[u8], path: &str) -> Option<(u32, u32)> {
    if file.ends_with(".csv") {
        return csv_text::Places::of(text)?.find(path);
    }
    // JSON is YAML 1.2, so one reader places faults in both.
    let marks = yaml_text::marks_of(text_of(text).ok()?)?;
    yaml_text::place(&marks, path)
}

/// What a path inside the catalogue folder holds.
#[derive(Debug, PartialEq)]
enum Spelling<'a> {
    Flagd(&'a str),
    Yaml(ObjectKind, &'a str),
    Json(ObjectKind, &'a str),
    List(&'a str),
    Table(&'a str),
    Model(&'a str, &'a str),
    Ignored,
    Unknown(&'static str),
}

fn spelling(path: &str) -> Spelling<'_> {
    let Some((folder, rest)) = path.split_once('/') else { return Spelling::Ignored };
    let file = rest.rsplit('/').next().unwrap_or(rest);
    if file.starts_with('.') || file.ends_with('~') || file.ends_with(".md") {
        return Spelling::Ignored;
    }
    let stem = |endings: &[&str]| endings.iter().find_map(|ending| rest.strip_suffix(ending));
    let yaml = |kind, expected| {
        let name = stem(&[".yaml", ".yml"]);
        name.map_or(Spelling::Unknown(expected), |name| Spelling::Yaml(kind, name))
    };
    match folder {
        "flags" => stem(&[".flagd.json"])
            .map_or(Spelling::Unknown("flags/NAME.flagd.json"), Spelling::Flagd),
        "segments" => stem(&[".json"]).map_or(Spelling::Unknown("segments/NAME.json"), |name| {
            Spelling::Json(ObjectKind::Segment, name)
        }),
        "settings" => stem(&[".json"]).map_or(Spelling::Unknown("settings/NAME.json"), |name| {
            Spelling::Json(ObjectKind::Setting, name)
        }),
        "lists" => stem(&[".csv"]).map_or(Spelling::Unknown("lists/NAME.csv"), Spelling::List),
        "tables" => stem(&[".csv"]).map_or(Spelling::Unknown("tables/NAME.csv"), Spelling::Table),
        "rules" => yaml(ObjectKind::RuleSet, "rules/NAME.yaml"),
        "flows" => yaml(ObjectKind::Flow, "flows/NAME.yaml"),
        "aliases" => yaml(ObjectKind::Alias, "aliases/NAME.yaml"),
        "models" => {
            rest.split_once('/').map_or(Spelling::Unknown("models/NAME/FILE"), |(name, file)| {
                Spelling::Model(name, file)
            })
        }
        _ => Spelling::Ignored,
    }
}

/// Reads a folder's files, by path relative to it with `/`.
///
/// # Errors
/// Every fault of every file, with file, line and column. Nothing is returned in part.
pub fn read_files(files: &BTreeMap<String, Vec<u8>>) -> Result<CatalogueText, Faults> {
    let mut catalogue = CatalogueText::default();
    let mut faults = Faults::new();
    let mut models: BTreeMap<&str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (path, bytes) in files {
        if bytes.len() > FILE_BYTES_MAX && !path.starts_with("models/") {
            let message = format!("the file has {} bytes; {FILE_BYTES_MAX} are read", bytes.len());
            faults.push(Fault::new(Code::LimitExceeded, "", message).at(path, 1, 1));
            continue;
        }
        let found = match spelling(path) {
            Spelling::Ignored => {
                catalogue.remarks.extend(unread::finding(path));
                continue;
            }
            Spelling::Unknown(expected) => {
                let message = format!("files here are {expected}; rename or move the file");
                Err(vec![Fault::new(Code::InvalidName, "", message)])
            }
            Spelling::Model(name, file) => {
                models.entry(name).or_default().insert(file.to_owned(), bytes.clone());
                continue;
            }
            Spelling::Flagd(stem) => flags::split_file(stem, bytes),
            Spelling::Json(kind, name) => read_json(kind, name, bytes),
            Spelling::Yaml(kind, name) => {
                read_yaml(path, (kind, name), bytes, &mut catalogue.remarks)
            }
            Spelling::List(name) => csv_text::read_list(path, bytes, &mut catalogue.remarks)
                .and_then(|list| one(ObjectKind::List, name, to_json(&list))),
            Spelling::Table(name) => csv_text::read_table(path, bytes)
                .and_then(|table| one(ObjectKind::Table, name, to_json(&table))),
        };
        catalogue.take(path, bytes, found, &mut faults);
    }
    for (name, folder) in models {
        let file = format!("models/{name}");
        let found = ModelObject::describe(&folder)
            .map_err(|message| vec![Fault::new(Code::ModelInvalid, "", message)])
            .and_then(|model| one(ObjectKind::Model, name, to_json(&model)));
        catalogue.take(&file, &[], found, &mut faults);
    }
    if faults.is_empty() { Ok(catalogue) } else { Err(faults) }
}

impl CatalogueText {
    /// Adds what one file holds, or its faults, placed in it.
    fn take(
        &mut self,
        file: &str,
        bytes: &[u8],
        found: Result<Vec<(ObjectId, Json)>, Faults>,
        faults: &mut Faults,
    ) {
        let objects = match found {
            Ok(objects) => objects,
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| locate_in(file, bytes, fault)));
                return;
            }
        };
        if !bytes.is_empty() {
            self.texts.insert(file.to_owned(), bytes.to_vec());
        }
        for (id, body) in objects {
            if let Some(other) = self.objects.get(&id) {
                let message = format!("{id} also stands in {}", other.file);
                faults.push(Fault::new(Code::DuplicateName, "", message).at(file, 1, 1));
                continue;
            }
            let checked = read_body(id.kind, id.name.as_str(), &body);
            self.objects
                .insert(id.clone(), SourceObject { id: id.clone(), body, file: file.to_owned() });
            if let Err(found) = checked {
                faults.extend(found.into_iter().map(|fault| self.locate(&id, fault)));
            }
        }
    }
}

fn locate_in(file: &str, bytes: &[u8], fault: Fault) -> Fault {
    if fault.file.is_some() {
        return fault;
    }
    if let (Some(line), Some(column)) = (fault.line, fault.column) {
        return fault.at(file, line, column);
    }
    let (line, column) = place(file, bytes, &fault.path).unwrap_or((1, 1));
    fault.at(file, line, column)
}

type Read = Result<Vec<(ObjectId, Json)>, Faults>;

fn one(kind: ObjectKind, name: &str, body: Json) -> Read {
    let name = ObjectName::new(kind, name).map_err(|fault| vec![fault])?;
    Ok(vec![(ObjectId { kind, name }, body)])
}

fn read_json(kind: ObjectKind, name: &str, bytes: &[u8]) -> Read {
    let text = text_of(bytes).map_err(|fault| vec![fault])?;
    let json = parse_strict(text.as_bytes()).map_err(|fault| vec![fault.into()])?;
    one(kind, name, json)
}

fn read_yaml(
    path: &str,
    (kind, name): (ObjectKind, &str),
    bytes: &[u8],
    remarks: &mut Faults,
) -> Read {
    let text = text_of(bytes).map_err(|fault| vec![fault])?;
    let found = yaml_text::read(path, text)?;
    remarks.extend(found.remarks);
    one(kind, name, found.json)
}

fn to_json<T: Serialize>(value: &T) -> Json {
    // These types have text keys only, so that serialising them cannot fail.
    serde_json::to_value(value).unwrap_or_default()
}

/// The file an object of a kind stands in when it is written alone; flags share files, and keys,
/// members and experiments have none.
#[must_use]
pub fn file_of(id: &ObjectId) -> Option<String> {
    let name = &id.name;
    Some(match id.kind {
        ObjectKind::List => format!("lists/{name}.csv"),
        ObjectKind::Table => format!("tables/{name}.csv"),
        ObjectKind::RuleSet => format!("rules/{name}.yaml"),
        ObjectKind::Flow => format!("flows/{name}.yaml"),
        ObjectKind::Alias => format!("aliases/{name}.yaml"),
        ObjectKind::Model => format!("models/{name}"),
        ObjectKind::Segment => format!("segments/{name}.json"),
        ObjectKind::Setting => format!("settings/{name}.json"),
        ObjectKind::Flag
        | ObjectKind::Experiment
        | ObjectKind::Rollout
        | ObjectKind::Key
        | ObjectKind::Member => return None,
    })
}

/// Writes objects as files. Models are named, not written: their bytes are in the blob store.
///
/// # Errors
/// A fault for each body that is none of its kind.
pub fn write_files(
    objects: &BTreeMap<ObjectId, Json>,
) -> Result<BTreeMap<String, Vec<u8>>, Faults> {
    let (mut files, joined) = flags::join_files(objects);
    let joined: BTreeSet<ObjectId> = joined;
    let mut faults = Faults::new();
    for (id, body) in objects {
        let Some(file) = file_of(id).filter(|_| !joined.contains(id)) else { continue };
        match read_body(id.kind, id.name.as_str(), body).map(|typed| written(&typed, body)) {
            Ok(Some(text)) => {
                files.insert(file, text);
            }
            Ok(None) => {}
            Err(found) => faults
                .extend(found.into_iter().map(|fault| Fault { file: Some(file.clone()), ..fault })),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

fn written(typed: &Body, body: &Json) -> Option<Vec<u8>> {
    let yaml = |schema: &str, text: Result<String, serde_saphyr::ser::Error>| {
        let head = format!("# yaml-language-server: $schema=../schemas/{schema}.schema.json\n");
        text.ok().map(|text| (head + &text).into_bytes())
    };
    match typed {
        Body::List(list) => Some(csv_text::write_list(list)),
        Body::Table(table) => Some(csv_text::write_table(table)),
        Body::RuleSet(set) => yaml("rule_set", serde_saphyr::to_string(set)),
        Body::Flow(flow) => yaml("flow", serde_saphyr::to_string(flow)),
        Body::Alias(alias) => yaml("alias", serde_saphyr::to_string(alias)),
        Body::Model(_) => None,
        Body::Json(_) => serde_json::to_vec_pretty(body).ok().map(|mut text| {
            text.push(b'\n');
            text
        }),
    }
}
