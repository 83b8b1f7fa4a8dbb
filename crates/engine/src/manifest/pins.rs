//! What agents may see of each server: pins, and what waits for a person.
//!
//! The state is a fold over `Event::ManifestRuled` entries in leaf order, so the ledger alone gives it back.

use super::{Diff, Item, Listing, diff, signals};
use crate::detect::{DriftKind, ToolHints};
use custody_model::*;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Definitions per server, listing and view.
const DEFINITIONS: usize = 10_000;
/// Longest text of a definition that is kept, in bytes; of a longer one only the digest is.
const TEXT: usize = 64 << 10;
/// Bytes of text kept per server.
const TEXTS: usize = 16 << 20;
/// Differing definitions of one name that are recorded until a person decides; further ones are withheld all the same.
const PENDING: u8 = 16;
/// Changes and announcements remembered.
const REMEMBERED: usize = 10_000;
/// Missing definitions that an added one is compared with.
const RENAMES: usize = 512;

/// What becomes of a definition that is seen for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstUse {
    /// Pinned, whatever it says.
    Pin,
    /// Withheld until a person approved it.
    Review,
    /// Pinned, unless it looks like an instruction or takes another server's name.
    #[default]
    PinUnlessDangerous,
}

/// A definition that agents may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// SHA-256 of its canonical form.
    pub digest: Digest,
    /// Its canonical form, unless it is too long or was erased.
    pub text: Option<String>,
    /// Since when it is pinned.
    pub since: Timestamp,
    /// The change record that allowed it.
    pub change: Option<String>,
    /// What a tool's definition says of its effects.
    pub hints: ToolHints,
}

/// A definition that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// SHA-256 of its canonical form.
    pub digest: Digest,
    /// Its canonical form, likewise.
    pub text: Option<String>,
    /// How dangerous it looks.
    pub class: Option<DangerClass>,
    /// The words that led to the class.
    pub words: Vec<String>,
    /// The freeze that quarantines it.
    pub action: Option<ActionId>,
    /// When it was seen.
    pub at: Timestamp,
    /// Whether an operator keeps the old pin.
    pub rejected: bool,
    /// Whether the last listing showed the pinned definition again. Of this run only; not recorded.
    pub back: bool,
}

/// What is known of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pin {
    /// What agents may see.
    pub pinned: Option<Known>,
    /// What waits.
    pub pending: Option<Pending>,
    /// Whether the last whole listing lacked it.
    pub removed: bool,
    /// Differing definitions recorded since a person last decided.
    recorded: u8,
}

/// One listing of one server, in the view of everybody or of one principal.
type Place = (ServerName, Listing, Option<PrincipalName>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shelf {
    pins: BTreeMap<String, Pin>,
    /// Whether it was seen to its end once.
    completed: bool,
}

/// An operator's word on changes to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Whose changes.
    pub server: ServerName,
    /// Of which definition; `None`: of all.
    pub target: Option<String>,
    /// The change record.
    pub change: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Who says so.
    pub by: OperatorName,
}

/// A change that triage may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Changed {
    server: ServerName,
    name: String,
    digest: Digest,
    at: Timestamp,
    change: Option<String>,
    /// Whether agents were shown it.
    delivered: bool,
}

/// Pins of all servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    shelves: BTreeMap<Place, Shelf>,
    announcements: Vec<Announcement>,
    changes: Vec<Changed>,
    texts: HashMap<ServerName, usize>,
}

/// One page of a listing, to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Whose.
    pub server: &'a ServerName,
    /// What.
    pub listing: Listing,
    /// For whom, where pins are kept per principal.
    pub principal: Option<&'a PrincipalName>,
    /// The definitions.
    pub items: &'a [Item],
    /// When this page ends the listing: every name of it, on all pages.
    pub whole: Option<&'a BTreeSet<String>>,
    /// The server's first-use policy.
    pub first_use: FirstUse,
    /// Now.
    pub now: Timestamp,
}

/// What to do with one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As pinned.
    Same,
    /// As pinned, while something else waits for a person.
    Back,
    /// As pinned, and an operator rejected what had come instead: the quarantine ends.
    Returned {
        /// The freeze to lift.
        action: Option<ActionId>,
    },
    /// New, and fine: pin it.
    Pin {
        /// `First` or `Added`.
        kind: DriftKind,
        /// How dangerous it looks, if at all.
        class: Option<DangerClass>,
        /// The words that led to the class.
        words: Vec<String>,
    },
    /// Not as pinned, or not pinned: nobody approved it.
    Unapproved {
        /// How it differs.
        kind: DriftKind,
        /// The differences; empty for a new definition.
        diff: Diff,
        /// Whether rules decide what becomes of it (else it is withheld in any case: the policy is `review`).
        ruled: bool,
    },
    /// Different, and announced: pin it.
    Announced {
        /// The change record.
        change: String,
        /// The freeze of an earlier sight of it, to lift.
        action: Option<ActionId>,
        /// The differences.
        diff: Diff,
    },
    /// Waits already.
    Waiting,
    /// There are too many of them to remember: withheld.
    Excess,
}

/// What to do with one page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Per definition, in order.
    pub verdicts: Vec<Verdict>,
    /// Pinned names that the listing lacks, and did not lack before.
    pub removed: Vec<String>,
    /// Names that it lacked and has again.
    pub relisted: Vec<String>,
    /// Whether it is seen to its end for the first time.
    pub completes: bool,
}

/// The state of a definition, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Agents see it.
    Pinned,
    /// Not listed any more.
    Removed,
    /// Waits for a person.
    Pending,
    /// An operator keeps the old pin; the server does not list it (yet).
    Rejected,
}

/// One definition, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The server.
    pub server: ServerName,
    /// The listing.
    pub listing: Listing,
    /// Its name; for a resource its address.
    pub name: String,
    /// Whose view, where pins are kept per principal.
    pub principal: Option<PrincipalName>,
    /// How it stands.
    pub state: State,
    /// Digest of the pinned definition.
    pub pinned: Option<Digest>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The change record that allowed it.
    pub change: Option<String>,
    /// The pinned definition.
    pub definition: Option<Value>,
    /// Digest of the one that waits.
    pub pending: Option<Digest>,
    /// When it was seen.
    pub seen: Option<Timestamp>,
    /// The one that waits.
    pub seen_definition: Option<Value>,
    /// How it differs.
    pub diff: Option<Diff>,
    /// How dangerous it looks.
    pub class: Option<DangerClass>,
    /// The words that led to the class.
    pub words: Vec<String>,
    /// The freeze that quarantines it.
    pub action: Option<ActionId>,
    /// Whether the server listed the pinned definition again meanwhile.
    #[serde(default)]
    pub back: bool,
}

/// Everything, as people see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Definitions, by server, listing and name.
    pub definitions: Vec<Shown>,
    /// Announced changes that are still to come.
    pub announcements: Vec<Announcement>,
}

impl Pins {
    /// Judges a page. Changes nothing: what follows is applied when it is recorded.
    pub fn judge(&self, sight: &Sight<'_>) -> Judgement {
        let empty = Shelf::default();
        let place = (sight.server.clone(), sight.listing, sight.principal.cloned());
        let shelf = self.shelves.get(&place).unwrap_or(&empty);
        let mut room = DEFINITIONS.saturating_sub(shelf.pins.len());
        let mut others: Option<Others> = None;
        let missing = OnceMissing::new(shelf, sight);
        let mut judgement = Judgement::default();
        for item in sight.items {
            let pin = shelf.pins.get(&item.name);
            if let Some(pin) = pin
                && pin.pinned.as_ref().is_some_and(|known| known.digest == item.digest)
            {
                if pin.removed {
                    judgement.relisted.push(item.name.clone());
                }
                judgement.verdicts.push(match &pin.pending {
                    Some(pending) if pending.rejected => Verdict::Returned { action: pending.action },
                    Some(_) => Verdict::Back,
                    None => Verdict::Same,
                });
                continue;
            }
            if pin.is_none() {
                if room == 0 && sight.listing != Listing::Resources {
                    judgement.verdicts.push(Verdict::Excess);
                    continue;
                } else if room == 0 {
                    judgement.verdicts.push(Verdict::Same);
                    continue;
                }
                room -= 1;
            }
            let others = others.get_or_insert_with(|| self.others(sight.server));
            judgement.verdicts.push(self.judge_unknown(sight, shelf, pin, item, others, &missing));
        }
        if let Some(whole) = sight.whole {
            judgement.completes = !shelf.completed;
            judgement.removed = shelf
                .pins
                .iter()
                .filter(|(name, pin)| !pin.removed && pin.pinned.is_some() && !whole.contains(*name))
                .map(|(name, _)| name.clone())
                .collect();
        }
        judgement
    }

    fn judge_unknown(
        &self,
        sight: &Sight<'_>,
        shelf: &Shelf,
        pin: Option<&Pin>,
        item: &Item,
        others: &Others,
        missing: &OnceMissing<'_>,
    ) -> Verdict {
        let foreign = |word: &str| others.tools.contains_key(&skeleton(word));
        let value: Value = serde_json::from_str(&item.text).unwrap_or(Value::Null);
        let pinned = pin.and_then(|pin| pin.pinned.as_ref());
        let differences = |known: &Known| match known.text.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
            Some(before) => diff(&before, &value, &foreign),
            // Its text is not at hand: that it differs is known all the same.
            None => Diff { class: Some(self.class_of_new(&value, &foreign).0.unwrap_or(DangerClass::Widened)), ..Diff::default() },
        };
        let pending = pin.and_then(|pin| pin.pending.as_ref());
        if let Some(announcement) = self.announced(sight.server, &item.name, sight.now) {
            let diff = pinned.map(differences).unwrap_or_default();
            return Verdict::Announced { change: announcement.change.clone(), action: pending.and_then(|p| p.action), diff };
        }
        if pending.is_some_and(|pending| pending.digest == item.digest) || pin.is_some_and(|pin| pin.recorded >= PENDING) {
            return Verdict::Waiting;
        }
        if let Some(known) = pinned {
            let mut diff = differences(known);
            self.shadows(sight, item, others, &mut diff);
            return Verdict::Unapproved { kind: DriftKind::Changed, diff, ruled: true };
        }
        if let Some(old) = missing.renamed(&value, sight.listing) {
            let mut diff = Diff { class: Some(DangerClass::Text), ..Diff::default() };
            diff.words = vec![format!("was {old}")];
            self.shadows(sight, item, others, &mut diff);
            return Verdict::Unapproved { kind: DriftKind::Renamed, diff, ruled: true };
        }
        let kind = if shelf.completed { DriftKind::Added } else { DriftKind::First };
        let (class, words) = self.class_of_new(&value, &foreign);
        let mut diff = Diff { class, words, ..Diff::default() };
        self.shadows(sight, item, others, &mut diff);
        let dangerous = diff.class.is_some_and(|class| class >= DangerClass::Shadowing);
        match sight.first_use {
            FirstUse::Review => Verdict::Unapproved { kind, diff, ruled: false },
            FirstUse::PinUnlessDangerous if dangerous => Verdict::Unapproved { kind, diff, ruled: true },
            _ => Verdict::Pin { kind, class: diff.class, words: diff.words },
        }
    }

    fn class_of_new(&self, value: &Value, foreign: &dyn Fn(&str) -> bool) -> (Option<DangerClass>, Vec<String>) {
        let found = signals(value, foreign);
        if found.is_instruction() { (Some(DangerClass::Instruction), found.words()) } else { (None, Vec::new()) }
    }

    /// Raises the class of a tool that has the name of another server's, and is not the same tool.
    fn shadows(&self, sight: &Sight<'_>, item: &Item, others: &Others, diff: &mut Diff) {
        if sight.listing != Listing::Tools || diff.class >= Some(DangerClass::Shadowing) {
            return;
        }
        if let Some((server, digest)) = others.tools.get(&skeleton(&item.name))
            && *digest != item.digest
        {
            diff.class = Some(DangerClass::Shadowing);
            diff.words = vec![format!("{server} has a tool of that name")];
        }
    }

    fn others(&self, server: &ServerName) -> Others {
        let tools = self.shelves.iter().filter(|((other, listing, _), _)| other != server && *listing == Listing::Tools);
        let named = tools.flat_map(|((other, ..), shelf)| {
            shelf.pins.iter().filter_map(|(name, pin)| Some((skeleton(name), (other.clone(), pin.pinned.as_ref()?.digest))))
        });
        Others { tools: named.collect() }
    }

    fn announced(&self, server: &ServerName, name: &str, now: Timestamp) -> Option<&Announcement> {
        self.announcements.iter().rev().find(|announced| {
            announced.server == *server
                && announced.target.as_deref().is_none_or(|target| target == name)
                && announced.from <= now
                && now < announced.until
        })
    }

    /// Takes in what was recorded. `definitions`: of the entry itself, for details that are erased.
    pub fn apply(
        &mut self,
        server: &ServerName,
        listing: &str,
        ruling: Ruling,
        definitions: &[(String, Digest)],
        detail: Option<&RulingDetail>,
        at: Timestamp,
    ) {
        let change = detail.and_then(|detail| detail.change.clone());
        if ruling == Ruling::Announced {
            if let Some(detail) = detail
                && let (Some(change), Some(until)) = (change, detail.expires)
            {
                let announcement =
                    Announcement { server: server.clone(), target: detail.target.clone(), change, from: at, until, by: detail.by.clone() };
                self.announcements.retain(|other| other.until > at);
                self.announcements.truncate(REMEMBERED);
                self.announcements.push(announcement);
            }
            return;
        }
        let Some(listing) = Listing::of_method(listing) else { return };
        let principal = detail.and_then(|detail| detail.principal.clone());
        let sealed = detail.map(|detail| detail.definitions.as_slice()).unwrap_or_default();
        let bare: Vec<RuledDefinition> = match sealed.is_empty() {
            true => definitions.iter().map(|(name, digest)| bare(name, *digest)).collect(),
            false => Vec::new(),
        };
        let place = (server.clone(), listing, principal);
        let shelf = self.shelves.entry(place).or_default();
        if ruling == Ruling::Completed {
            shelf.completed = true;
        }
        for ruled in sealed.iter().chain(&bare) {
            if shelf.pins.len() >= DEFINITIONS && !shelf.pins.contains_key(&ruled.name) {
                continue;
            }
            let completed = shelf.completed;
            let pin = shelf.pins.entry(ruled.name.clone()).or_default();
            let was_pinned = pin.pinned.is_some();
            settle(pin, ruling, ruled, change.as_deref(), at, self.texts.entry(server.clone()).or_default());
            let is_change = match ruling {
                Ruling::Withheld | Ruling::Observed | Ruling::Changed => was_pinned || completed,
                Ruling::Pinned => completed,
                Ruling::Rejected => {
                    // A person has looked, and it never reached an agent.
                    self.changes.retain(|known| known.server != *server || known.name != ruled.name);
                    false
                }
                Ruling::Approved => {
                    // What was seen without a record has one now.
                    for known in self.changes.iter_mut().filter(|c| c.server == *server && c.name == ruled.name && c.digest == ruled.digest)
                    {
                        known.change = change.clone();
                        known.delivered = true;
                    }
                    false
                }
                _ => false,
            };
            if is_change {
                if self.changes.len() >= REMEMBERED {
                    self.changes.remove(0);
                }
                let (server, name) = (server.clone(), ruled.name.clone());
                let delivered = ruling != Ruling::Withheld;
                self.changes.push(Changed { server, name, digest: ruled.digest, at, change: change.clone(), delivered });
            }
        }
    }

    /// Notes whether the server lists the pinned definition again. Not part of what entries make.
    pub fn mark_back(&mut self, server: &ServerName, listing: Listing, principal: Option<&PrincipalName>, name: &str, back: bool) {
        let shelf = self.shelves.get_mut(&(server.clone(), listing, principal.cloned()));
        if let Some(pending) = shelf.and_then(|shelf| shelf.pins.get_mut(name)).and_then(|pin| pin.pending.as_mut()) {
            pending.back = back;
        }
    }

    /// Changes of a server since then, with their change record, oldest first.
    pub fn changes(&self, server: &ServerName, since: Timestamp) -> Vec<(Timestamp, Option<String>)> {
        let recent = self.changes.iter().filter(|change| change.server == *server && change.at >= since);
        recent.map(|change| (change.at, change.change.clone())).collect()
    }

    /// As [`Pins::changes`], of what agents were shown: what was withheld turned nobody.
    pub fn delivered_changes(&self, server: &ServerName, since: Timestamp) -> Vec<(Timestamp, Option<String>)> {
        let recent = self.changes.iter().filter(|change| change.server == *server && change.at >= since && change.delivered);
        recent.map(|change| (change.at, change.change.clone())).collect()
    }

    /// What is known of a tool that a principal calls: what its definition says of its effects, and since when it is there with a
    /// change record. What came without one is no known change.
    pub fn tool(&self, server: &ServerName, principal: &PrincipalName, tool: &str) -> (ToolHints, Option<Timestamp>) {
        let own = self.pinned(server, Listing::Tools, Some(principal), tool);
        let Some(known) = own.or_else(|| self.pinned(server, Listing::Tools, None, tool)) else { return Default::default() };
        (known.hints, known.change.as_ref().map(|_| known.since))
    }

    /// The pinned definition of a tool.
    pub fn pinned(&self, server: &ServerName, listing: Listing, principal: Option<&PrincipalName>, name: &str) -> Option<&Known> {
        self.shelves.get(&(server.clone(), listing, principal.cloned()))?.pins.get(name)?.pinned.as_ref()
    }

    /// The freeze that quarantines what waits under this name.
    pub fn pending_action(&self, server: &ServerName, listing: Listing, principal: Option<&PrincipalName>, name: &str) -> Option<ActionId> {
        self.shelves.get(&(server.clone(), listing, principal.cloned()))?.pins.get(name)?.pending.as_ref()?.action
    }

    /// Every freeze that quarantines a definition.
    pub fn quarantines(&self) -> impl Iterator<Item = ActionId> {
        self.shelves.values().flat_map(|shelf| shelf.pins.values()).filter_map(|pin| pin.pending.as_ref()?.action)
    }

    /// Everything, as people see it at this time.
    pub fn view(&self, now: Timestamp) -> View {
        let mut definitions = Vec::new();
        for ((server, listing, principal), shelf) in &self.shelves {
            let others = self.others(server);
            for (name, pin) in &shelf.pins {
                definitions.push(shown(server, *listing, principal.as_ref(), name, pin, &others));
            }
        }
        let announcements = self.announcements.iter().filter(|announced| announced.until > now).cloned().collect();
        View { definitions, announcements }
    }
}

/// Tools of other servers by the skeleton of their names.
struct Others {
    tools: HashMap<String, (ServerName, Digest)>,
}

/// Pinned definitions that the whole listing lacks: an added one may be one of them under a new name.
struct OnceMissing<'a>(Vec<(&'a str, Value)>);

impl<'a> OnceMissing<'a> {
    fn new(shelf: &'a Shelf, sight: &Sight<'_>) -> Self {
        let Some(whole) = sight.whole.filter(|_| shelf.completed && sight.listing != Listing::Server) else {
            return OnceMissing(Vec::new());
        };
        let gone = shelf.pins.iter().filter(|(name, pin)| !pin.removed && !whole.contains(*name));
        let texts = gone.filter_map(|(name, pin)| Some((name.as_str(), pin.pinned.as_ref()?.text.as_deref()?)));
        let values = texts.take(RENAMES).filter_map(|(name, text)| Some((name, nameless(serde_json::from_str(text).ok()?, sight.listing))));
        OnceMissing(values.collect())
    }

    fn renamed(&self, value: &Value, listing: Listing) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let value = nameless(value.clone(), listing);
        // What says nothing but its name is no other's double.
        let says = value.as_object().is_some_and(|fields| fields.contains_key("description"));
        self.0.iter().find(|(_, old)| says && *old == value).map(|(name, _)| *name)
    }
}

fn nameless(mut value: Value, listing: Listing) -> Value {
    let key = match listing {
        Listing::Resources => "uri",
        Listing::Templates => "uriTemplate",
        _ => "name",
    };
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove(key);
    }
    value
}

/// `read_file`, `readFile` and `Read-File` look alike to an agent.
fn skeleton(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

fn bare(name: &str, digest: Digest) -> RuledDefinition {
    RuledDefinition { name: name.to_owned(), digest, text: None, class: None, words: Vec::new(), action: None }
}

fn settle(pin: &mut Pin, ruling: Ruling, ruled: &RuledDefinition, change: Option<&str>, at: Timestamp, texts: &mut usize) {
    let mut keep = |text: &Option<String>| {
        let text = text.as_ref().filter(|text| text.len() <= TEXT && *texts + text.len() <= TEXTS)?;
        *texts += text.len();
        Some(text.clone())
    };
    match ruling {
        Ruling::Pinned | Ruling::Changed | Ruling::Observed | Ruling::Approved => {
            let text = match &pin.pending {
                Some(pending) if pending.digest == ruled.digest && ruled.text.is_none() => pending.text.clone(),
                _ => keep(&ruled.text),
            };
            let hints = text.as_deref().map(ToolHints::of).unwrap_or_default();
            let old = pin.pinned.replace(Known { digest: ruled.digest, text, since: at, change: change.map(str::to_owned), hints });
            let waited = pin.pending.take();
            let dropped = [old.and_then(|old| old.text), waited.filter(|w| w.digest != ruled.digest).and_then(|w| w.text)];
            *texts = texts.saturating_sub(dropped.into_iter().flatten().map(|text| text.len()).sum());
            pin.removed = false;
            pin.recorded = 0;
        }
        Ruling::Withheld => {
            let text = keep(&ruled.text);
            let (class, words, action) = (ruled.class, ruled.words.clone(), ruled.action);
            let action = action.or_else(|| pin.pending.as_ref().and_then(|pending| pending.action));
            // Something else than what was rejected: a person has to look again.
            pin.pending = Some(Pending { digest: ruled.digest, text, class, words, action, at, rejected: false, back: false });
            pin.recorded = pin.recorded.saturating_add(1);
        }
        Ruling::Rejected => {
            if let Some(pending) = &mut pin.pending {
                pending.rejected = true;
            }
            pin.recorded = 0;
        }
        Ruling::Returned => {
            pin.pending = None;
            pin.recorded = 0;
        }
        Ruling::Removed => pin.removed = true,
        Ruling::Relisted => pin.removed = false,
        Ruling::Completed | Ruling::Announced => {}
    }
}

fn shown(server: &ServerName, listing: Listing, principal: Option<&PrincipalName>, name: &str, pin: &Pin, others: &Others) -> Shown {
    let value = |text: Option<&String>| text.and_then(|text| serde_json::from_str(text).ok());
    let (pinned, pending) = (pin.pinned.as_ref(), pin.pending.as_ref());
    let definition: Option<Value> = value(pinned.and_then(|known| known.text.as_ref()));
    let seen_definition: Option<Value> = value(pending.and_then(|pending| pending.text.as_ref()));
    let foreign = |word: &str| others.tools.contains_key(&skeleton(word));
    let differences = definition.as_ref().zip(seen_definition.as_ref()).map(|(before, after)| diff(before, after, &foreign));
    Shown {
        server: server.clone(),
        listing,
        name: name.to_owned(),
        principal: principal.cloned(),
        state: match pending {
            Some(pending) if pending.rejected => State::Rejected,
            Some(_) => State::Pending,
            None if pin.removed => State::Removed,
            None => State::Pinned,
        },
        pinned: pinned.map(|known| known.digest),
        since: pinned.map(|known| known.since),
        change: pinned.and_then(|known| known.change.clone()),
        definition,
        pending: pending.map(|pending| pending.digest),
        seen: pending.map(|pending| pending.at),
        seen_definition,
        diff: differences,
        class: pending.and_then(|pending| pending.class),
        words: pending.map(|pending| pending.words.clone()).unwrap_or_default(),
        action: pending.and_then(|pending| pending.action),
        back: pending.is_some_and(|pending| pending.back),
    }
}
