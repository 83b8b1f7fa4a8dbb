//! The definitions in an answer, with the bytes that each takes up.

use super::digest_of;
use crate::wire::{Span, splice::Edit};
use custody_model::{Digest, Splice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use std::collections::{BTreeSet, HashMap};

/// What a server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Listing {
    /// `tools/list`.
    #[serde(rename = "tools/list")]
    Tools,
    /// `prompts/list`.
    #[serde(rename = "prompts/list")]
    Prompts,
    /// `resources/list`.
    #[serde(rename = "resources/list")]
    Resources,
    /// `resources/templates/list`.
    #[serde(rename = "resources/templates/list")]
    Templates,
    /// What a server says of itself: instructions and `serverInfo`, in the results of `initialize` and `server/discover`
    /// (revision 2026-07-28).
    #[serde(rename = "initialize")]
    Server,
}

impl Listing {
    /// All of them.
    pub const ALL: [Listing; 5] = [Listing::Tools, Listing::Prompts, Listing::Resources, Listing::Templates, Listing::Server];

    /// The listing that this method asks for.
    pub fn of_method(method: &str) -> Option<Listing> {
        match method {
            "server/discover" => Some(Listing::Server),
            _ => Listing::ALL.into_iter().find(|listing| listing.as_str() == method),
        }
    }

    /// Its method.
    pub fn as_str(self) -> &'static str {
        match self {
            Listing::Tools => "tools/list",
            Listing::Prompts => "prompts/list",
            Listing::Resources => "resources/list",
            Listing::Templates => "resources/templates/list",
            Listing::Server => "initialize",
        }
    }

    /// What one of its definitions is called.
    pub fn noun(self) -> &'static str {
        match self {
            Listing::Tools => "tool",
            Listing::Prompts => "prompt",
            Listing::Resources => "resource",
            Listing::Templates => "template",
            Listing::Server => "server",
        }
    }

    /// Whether its names can identify people, and so stay out of leaves (see `Event::ManifestSeen`).
    pub fn is_private(self) -> bool {
        matches!(self, Listing::Resources | Listing::Templates)
    }

    fn name_key(self) -> &'static str {
        match self {
            Listing::Tools | Listing::Prompts | Listing::Server => "name",
            Listing::Resources => "uri",
            Listing::Templates => "uriTemplate",
        }
    }
}

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name; for a resource its address; `instructions` or `serverInfo` for a server.
    pub name: String,
    /// SHA-256 of its canonical JSON (RFC 8785).
    pub digest: Digest,
    /// The canonical JSON.
    pub text: String,
    /// Where it lies in the frame; several places for an address that is listed twice, none for what cannot be cut.
    pub spans: Vec<Span>,
}

/// One answer to a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The definitions, in order.
    pub items: Vec<Item>,
    /// Whether more pages follow.
    pub more: bool,
    /// Every element of the list, in order.
    elements: Vec<Span>,
}

/// Why a listing cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not what the method answers.
    #[error("the listing cannot be read: {0}")]
    Json(String),
    /// An element without a name.
    #[error("element {0} of the listing has no name")]
    Nameless(usize),
    /// Two different definitions of one name.
    #[error("`{0}` is listed twice, with different definitions")]
    Twice(String),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resources: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resourceTemplates")]
    templates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "serverInfo")]
    server_info: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "nextCursor")]
    next: Option<&'a RawValue>,
}

fn answer<'a>(bytes: &'a [u8], result: Span) -> Result<Answer<'a>, Unreadable> {
    let result = result.of(bytes);
    // A list would do for the reader below, field by field.
    if !result.trim_ascii_start().starts_with(b"{") {
        return Err(Unreadable::Json("the result is no object".to_owned()));
    }
    serde_json::from_slice(result).map_err(|error| Unreadable::Json(error.to_string()))
}

/// The listings that a result could be taken for, where it is not known what it answers.
///
/// # Errors
/// [`Unreadable::Json`]: it is no object, or names a list twice.
pub fn listed(bytes: &[u8], result: Span) -> Result<Vec<Listing>, Unreadable> {
    let answer = answer(bytes, result)?;
    let is_list = |raw: Option<&RawValue>| raw.is_some_and(|raw| raw.get().starts_with('['));
    let found = [
        (Listing::Tools, is_list(answer.tools)),
        (Listing::Prompts, is_list(answer.prompts)),
        (Listing::Resources, is_list(answer.resources)),
        (Listing::Templates, is_list(answer.templates)),
        (Listing::Server, answer.instructions.is_some() || answer.server_info.is_some()),
    ];
    Ok(found.into_iter().filter_map(|(listing, is)| is.then_some(listing)).collect())
}

/// The definitions of one listing in a frame whose `result` lies at that span. A result without the list has none.
///
/// # Errors
/// See [`Unreadable`]; then nobody can say what an agent would see.
pub fn read(listing: Listing, bytes: &[u8], result: Span) -> Result<Page, Unreadable> {
    let answer = answer(bytes, result)?;
    let list = match listing {
        Listing::Tools => answer.tools,
        Listing::Prompts => answer.prompts,
        Listing::Resources => answer.resources,
        Listing::Templates => answer.templates,
        Listing::Server => return server(&answer),
    };
    let json = |error: serde_json::Error| Unreadable::Json(error.to_string());
    let elements: Vec<&RawValue> = match list {
        Some(list) => serde_json::from_str(list.get()).map_err(json)?,
        None => Vec::new(),
    };
    let mut items: Vec<Item> = Vec::with_capacity(elements.len());
    let mut spans = Vec::with_capacity(elements.len());
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut together: HashMap<String, BTreeSet<String>> = HashMap::new();
    for (nth, raw) in elements.into_iter().enumerate() {
        let mut value: Value = serde_json::from_str(raw.get()).map_err(json)?;
        let span = span_of(bytes, raw);
        spans.push(span);
        let name = value.get(listing.name_key()).and_then(Value::as_str).ok_or(Unreadable::Nameless(nth))?.to_owned();
        if listing == Listing::Resources {
            forget_volatile(&mut value);
        }
        let text = canonical(&value)?;
        let digest = digest_of(text.as_bytes());
        match by_name.get(&name).map(|at| &mut items[*at]) {
            None => {
                by_name.insert(name.clone(), items.len());
                items.push(Item { name, digest, text, spans: vec![span] });
            }
            Some(known) if known.digest == digest => known.spans.push(span),
            Some(_) if !listing.is_private() => return Err(Unreadable::Twice(name)),
            // Some servers list one address under several names: together they are one definition.
            Some(known) => {
                let all = together.entry(name).or_insert_with(|| BTreeSet::from([known.text.clone()]));
                all.insert(text);
                known.text = format!("[{}]", all.iter().map(String::as_str).collect::<Vec<_>>().join(","));
                known.digest = digest_of(known.text.as_bytes());
                known.spans.push(span);
            }
        }
    }
    Ok(Page { items, more: answer.next.is_some(), elements: spans })
}

/// Instructions and `serverInfo`. Missing instructions are an answer too: later ones would be a change.
fn server(answer: &Answer<'_>) -> Result<Page, Unreadable> {
    let said =
        [("instructions", Some(answer.instructions.map_or("null", RawValue::get))), ("serverInfo", answer.server_info.map(RawValue::get))];
    let mut items = Vec::with_capacity(2);
    for (name, raw) in said {
        let Some(raw) = raw else { continue };
        let value: Value = serde_json::from_str(raw).map_err(|error| Unreadable::Json(error.to_string()))?;
        let text = canonical(&value)?;
        items.push(Item { name: name.to_owned(), digest: digest_of(text.as_bytes()), text, spans: Vec::new() });
    }
    Ok(Page { items, more: false, elements: Vec::new() })
}

fn canonical(value: &Value) -> Result<String, Unreadable> {
    serde_json_canonicalizer::to_string(value).map_err(|error| Unreadable::Json(error.to_string()))
}

/// What a resource's listing says of the moment, not of the resource.
fn forget_volatile(value: &mut Value) {
    let Some(resource) = value.as_object_mut() else { return };
    resource.shift_remove("size");
    if let Some(annotations) = resource.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("lastModified");
    }
}

/// Where a value lies in the frame that it was borrowed from.
fn span_of(bytes: &[u8], raw: &RawValue) -> Span {
    let start = (raw.get().as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    Span { start, end: start.wrapping_add(raw.get().len()) }
}

/// The edits that take these definitions out of their listing and leave every other byte as it was.
pub fn cut(page: &Page, unwanted: impl Fn(&Item) -> bool) -> Vec<Edit> {
    let mut gone: Vec<Span> = page.items.iter().filter(|item| unwanted(item)).flat_map(|item| item.spans.iter().copied()).collect();
    gone.sort_unstable();
    let is_gone = |span: &Span| gone.binary_search(span).is_ok();
    let elements = &page.elements;
    let mut edits = Vec::new();
    let mut at = 0;
    while at < elements.len() {
        if !is_gone(&elements[at]) {
            at += 1;
            continue;
        }
        let first = at;
        while at < elements.len() && is_gone(&elements[at]) {
            at += 1;
        }
        // A run goes with the comma behind it; the last run with the comma before it.
        let span = match (elements.get(at), first.checked_sub(1)) {
            (Some(next), _) => Span { start: elements[first].start, end: next.start },
            (None, Some(before)) => Span { start: elements[before].end, end: elements[at - 1].end },
            (None, None) => Span { start: elements[first].start, end: elements[at - 1].end },
        };
        edits.push(Edit { span, with: Vec::new(), kind: Splice::Sanitised });
    }
    edits
}
