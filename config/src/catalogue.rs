//! The catalogue's objects as JSON bodies, and as a folder of files.
//!
//! ```text
//! files (YAML, CSV, JSON)  --read_files-->  (ObjectId, JSON body)  --read_body-->  typed Body
//!                          <--write_files--
//! ```
//!
//! A body is JSON because that is what the log carries, the API speaks and every version can read.
//! Files are a second spelling of the same bodies for people; [`CatalogueText::locate`] finds the
//! line and column of a fault that was found in a body long after the file was read.

mod body;
mod csv_text;
mod encoding;
mod files;
mod flag_files;
mod json_schema;
mod plan;
mod unread;
mod yaml_text;

pub use body::{Body, read_body};
pub use encoding::text_of;
pub use files::{CatalogueText, FILE_BYTES_MAX, SourceObject, file_of, read_files, write_files};
pub use flag_files::{FLAG_FILE_ENDING, relax_flag_files};
pub use json_schema::editor_schemas;
pub use plan::{FilePlan, plan_files};
pub use yaml_text::{YamlText, read as read_yaml};
