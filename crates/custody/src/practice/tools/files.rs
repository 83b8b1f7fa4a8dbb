//! Files: multi-page text documents, pages parted by form feeds.

use super::{PracticeTool, SHORT_BYTES, TEXT_BYTES, optional_count, optional_text, text};
use crate::practice::world::{FILE_BYTES, ToolError, World, read_text};
use serde_json::{Map, Value, json};
use std::{fs, io::Write, path::Path};

const LISTED: usize = 1000;
const DEPTH: usize = 16;

pub(super) const READ_FILE: PracticeTool = PracticeTool {
    name: "read_file",
    description: "Read a text document. Pages are parted by form feeds; `page` (from 1) returns only that page.",
    read_only: true,
    schema: || {
        json!({"type": "object", "required": ["path"], "properties": {
            "path": {"type": "string", "description": "Path below the files, such as reports/q1.txt"},
            "page": {"type": "integer", "minimum": 1, "description": "Only this page"}}})
    },
    run: read_file,
};

pub(super) const LIST_FILES: PracticeTool = PracticeTool {
    name: "list_files",
    description: "List the files below a directory, with their sizes.",
    read_only: true,
    schema: || json!({"type": "object", "properties": {"path": {"type": "string", "description": "Directory; all files if left out"}}}),
    run: list_files,
};

pub(super) const WRITE_FILE: PracticeTool = PracticeTool {
    name: "write_file",
    description: "Write a text file, replacing what was there.",
    read_only: false,
    schema: || {
        json!({"type": "object", "required": ["path", "content"], "properties": {
            "path": {"type": "string"}, "content": {"type": "string"}}})
    },
    run: write_file,
};

fn read_file(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let path = text(arguments, "path", SHORT_BYTES)?;
    let page = optional_count(arguments, "page", 10_000)?;
    let found = world.existing(path)?;
    if !found.is_file() {
        return Err(ToolError::Missing(path.to_owned()));
    }
    let content = read_text(&found, path, FILE_BYTES)?;
    match page {
        None => Ok(content),
        Some(page) => {
            content.split('\u{c}').nth(page - 1).map(str::to_owned).ok_or_else(|| ToolError::Missing(format!("{path}, page {page}")))
        }
    }
}

fn list_files(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let path = optional_text(arguments, "path", SHORT_BYTES)?.unwrap_or(".");
    let directory = world.existing(path)?;
    let mut listed = Vec::new();
    walk(&directory, &world.files(), DEPTH, &mut listed)?;
    listed.sort();
    if listed.is_empty() { Ok("no files".to_owned()) } else { Ok(listed.join("\n")) }
}

fn walk(directory: &Path, root: &Path, depth: usize, listed: &mut Vec<String>) -> Result<(), ToolError> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if listed.len() >= LISTED {
            break;
        }
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), root, depth - 1, listed)?;
        } else if kind.is_file() {
            let path = entry.path();
            let shown = path.strip_prefix(root).unwrap_or(&path);
            listed.push(format!("{}\t{} bytes", shown.display(), entry.metadata()?.len()));
        }
    }
    Ok(())
}

fn write_file(world: &World, arguments: &Map<String, Value>) -> Result<String, ToolError> {
    let path = text(arguments, "path", SHORT_BYTES)?;
    let content = text(arguments, "content", TEXT_BYTES)?;
    let _guard = world.exclusive();
    let place = world.place(path)?;
    // Written beside and renamed: a reader never sees half a file, and the bytes never go through a link.
    let directory = place.parent().ok_or_else(|| ToolError::Outside(path.to_owned()))?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content.as_bytes())?;
    file.persist(&place).map_err(|error| error.error)?;
    Ok(format!("wrote {} bytes to {path}", content.len()))
}
