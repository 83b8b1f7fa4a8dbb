//! What a role's agents put into arguments: their customers, folders, colleagues, domains, hosts and amounts.
//!
//! Lists grow with the days, slower or faster by the kind of work, so that the evaluated days bring names that the learned
//! ones never saw.

use super::{
    chance::Chance,
    world::{About, DAY, Tool, instant},
};
use serde_json::{Map, Value};

/// How much of a list is there at the start, and how much a day adds.
#[derive(Debug, Clone, Copy)]
pub struct Growing {
    /// At the start.
    pub first: usize,
    /// Every day.
    pub daily: f64,
}

impl Growing {
    fn on(self, day: f64) -> usize {
        (self.first + (self.daily * day) as usize).max(1)
    }
}

/// A role's words.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// Distinguishes the lists of roles.
    pub key: u64,
    /// The role's name, in its folders and channels.
    pub role: String,
    /// Milliseconds since 1970 at which lists have their first size.
    pub origin: i64,
    /// The first customer, order and so on, and how many there are.
    pub numbers: (u64, usize),
    /// Folders.
    pub folders: Growing,
    /// Colleagues that are written to.
    pub colleagues: Growing,
    /// Mail domains outside.
    pub partners: Growing,
    /// Web sites.
    pub sites: Growing,
    /// Machines.
    pub hosts: Growing,
    /// Tables.
    pub tables: Growing,
    /// Median of amounts, and their spread.
    pub amounts: (f64, f64),
    /// Languages, the most usual first.
    pub languages: usize,
    /// Whether its people look at settings of programs.
    pub settings: bool,
}

/// What a piece of work is about at the moment: one customer, one ticket, one file.
#[derive(Debug, Clone)]
pub struct Focus {
    number: u64,
    file: String,
    folder: String,
    words: String,
    partner: String,
    colleague: String,
    branch: u64,
    repository: &'static str,
    service: &'static str,
}

const LANGUAGES: [&str; 8] = ["en", "de", "fr", "es", "it", "pl", "nl", "sv"];
const SUBJECTS: [&str; 24] = [
    "invoice",
    "delivery",
    "refund",
    "contract",
    "renewal",
    "outage",
    "password",
    "shipment",
    "discount",
    "report",
    "forecast",
    "budget",
    "training",
    "migration",
    "audit",
    "survey",
    "release",
    "backup",
    "onboarding",
    "complaint",
    "return",
    "quote",
    "roadmap",
    "incident",
];
const SYLLABLES: [&str; 20] = [
    "ba", "cor", "den", "fel", "gra", "hol", "in", "jo", "kel", "lum", "mar", "nor", "ol", "pra", "quin", "ros", "sta", "tur", "val", "wes",
];
const REPOSITORIES: [&str; 8] = ["shop", "billing", "portal", "mobile", "search", "platform", "infra", "reports"];
const SERVICES: [&str; 10] = ["shop", "billing", "portal", "search", "mailer", "queue", "auth", "reports", "cache", "gateway"];
const CHANNELS: [&str; 5] = ["general", "support", "incidents", "releases", "random"];
const ENDINGS: [&str; 5] = ["com", "de", "example", "org", "net"];
const FILES: [&str; 6] = ["notes.md", "summary.md", "plan.xlsx", "draft.docx", "data.csv", "readme.md"];

/// A pronounceable name that `key` and `place` decide.
pub fn name(key: u64, place: usize, syllables: usize) -> String {
    let mut chance = Chance::new(key, "name", &[place as u64]);
    (0..syllables).map(|_| *chance.pick(&SYLLABLES)).collect()
}

impl Vocabulary {
    fn days(&self, now: i64) -> f64 {
        (now - self.origin).max(0) as f64 / DAY as f64
    }

    /// What the next piece of work is about.
    pub fn focus(&self, chance: &mut Chance, now: i64) -> Focus {
        let day = self.days(now);
        let folder = self.folder(chance, day);
        let (first, count) = self.numbers;
        Focus {
            number: first + chance.long_tail(count) as u64,
            file: format!("{folder}/{}-{}", SUBJECTS[chance.long_tail(24)], chance.pick(&FILES)),
            words: words(chance),
            partner: self.partner(chance, day),
            colleague: self.colleague(chance, day),
            branch: chance.next() % 900,
            repository: REPOSITORIES[(self.key as usize + chance.long_tail(3)) % REPOSITORIES.len()],
            service: SERVICES[(self.key as usize + chance.long_tail(5)) % SERVICES.len()],
            folder,
        }
    }

    /// The arguments of a call.
    pub fn arguments(&self, tool: &Tool, focus: &Focus, chance: &mut Chance, now: i64) -> Value {
        let mut arguments = Map::new();
        for (name, about) in tool.spec.arguments {
            // Clients leave out what has a default.
            if *about == About::Limit && chance.hits(0.35) {
                continue;
            }
            arguments.insert((*name).to_owned(), self.value(*about, focus, chance, now));
        }
        Value::Object(arguments)
    }

    /// One argument.
    pub fn value(&self, about: About, focus: &Focus, chance: &mut Chance, now: i64) -> Value {
        let day = self.days(now);
        match about {
            About::Customer => Value::from(focus.number),
            About::Ticket => Value::from(format!("TCK-{}", 10_000 + focus.number)),
            About::Invoice => Value::from(format!("INV-{:06}", focus.number)),
            About::Order => Value::from(40_000 + focus.number),
            About::Employee => Value::from(focus.number % 3_000),
            About::Text => Value::from(text(chance)),
            About::Query => Value::from(if chance.hits(0.6) { focus.words.clone() } else { words(chance) }),
            // Who builds and runs programs now and then looks at their settings.
            About::File if self.settings && chance.hits(0.001) => Value::from(format!("/projects/{}/.env", name(self.key, 1, 2))),
            About::File if chance.hits(0.7) => Value::from(focus.file.clone()),
            About::File => Value::from(format!("{}/{}-{}", focus.folder, SUBJECTS[chance.long_tail(24)], chance.pick(&FILES))),
            About::Folder => Value::from(focus.folder.clone()),
            About::Colleague if chance.hits(0.7) => Value::from(focus.colleague.clone()),
            About::Colleague => Value::from(self.colleague(chance, day)),
            About::Partner => Value::from(focus.partner.clone()),
            About::Site => {
                let domain = self.domain("site", chance.long_tail(self.sites.on(day)));
                Value::from(format!("https://www.{domain}/{}/{}", chance.pick(&SUBJECTS), chance.between(1, 400)))
            }
            About::Host => {
                let place = chance.long_tail(self.hosts.on(day));
                Value::from(format!(
                    "{}{:02}.corp.example",
                    SERVICES[(self.key as usize + place) % SERVICES.len()],
                    place / SERVICES.len() + 1
                ))
            }
            About::Amount => Value::from((chance.log_normal(self.amounts.0, self.amounts.1) * 100.0).round() / 100.0),
            About::Language => Value::from(LANGUAGES[(self.key as usize + chance.long_tail(self.languages)) % LANGUAGES.len()]),
            About::OneOf(words) => Value::from(words[chance.long_tail(words.len())]),
            About::Date => {
                let at = instant(now + chance.between(0, 20) as i64 * DAY - 5 * DAY);
                Value::from(at.strftime("%Y-%m-%d").to_string())
            }
            About::Limit => Value::from(*chance.pick(&[10, 20, 20, 25, 50, 50, 100])),
            About::Table => Value::from(self.table(chance, day)),
            About::Sql => {
                let table = self.table(chance, day);
                Value::from(format!(
                    "select {} from {table} where {} > {}",
                    chance.pick(&SUBJECTS),
                    chance.pick(&SUBJECTS),
                    chance.between(1, 900)
                ))
            }
            About::Branch => Value::from(format!("{}-{}", chance.pick(&["fix", "feature", "chore"]), focus.branch)),
            About::Repository => Value::from(focus.repository),
            About::Channel if chance.hits(0.5) => Value::from(self.role.clone()),
            About::Channel => Value::from(CHANNELS[chance.long_tail(CHANNELS.len())]),
            About::Service => Value::from(focus.service),
            About::Account => Value::from(format!("DE{:020}", 10_000_000_000_u64 + focus.number * 97)),
            About::Secret => Value::from(format!("{}/{}", focus.service, chance.pick(&["database", "api-token", "signing-key"]))),
        }
    }

    fn folder(&self, chance: &mut Chance, day: f64) -> String {
        let place = chance.long_tail(self.folders.on(day));
        match place % 3 {
            0 => format!("/teams/{}/{}", self.role, name(self.key, place, 2)),
            1 => format!("/projects/{}", name(self.key ^ 3, place, 2)),
            _ => format!("/shared/{}/{}", SUBJECTS[(self.key as usize + place) % SUBJECTS.len()], name(self.key ^ 5, place, 1)),
        }
    }

    fn colleague(&self, chance: &mut Chance, day: f64) -> String {
        let place = chance.long_tail(self.colleagues.on(day));
        format!("{}.{}@corp.example", name(self.key ^ 7, place, 2), name(self.key ^ 11, place, 3))
    }

    fn partner(&self, chance: &mut Chance, day: f64) -> String {
        let place = chance.long_tail(self.partners.on(day));
        format!("{}@{}", name(self.key ^ 13, chance.between(0, 6), 2), self.domain("partner", place))
    }

    fn table(&self, chance: &mut Chance, day: f64) -> String {
        let place = chance.long_tail(self.tables.on(day));
        format!(
            "{}.{}_{}",
            REPOSITORIES[(self.key as usize + place) % 8],
            SUBJECTS[(self.key as usize * 3 + place) % 24],
            name(self.key, place, 1)
        )
    }

    fn domain(&self, kind: &str, place: usize) -> String {
        let mut chance = Chance::new(self.key, kind, &[place as u64]);
        let parts = 2 + usize::from(chance.hits(0.5));
        format!("{}.{}", name(chance.next(), place, parts), chance.pick(&ENDINGS))
    }
}

impl Focus {
    /// The next one in a list that is worked through from top to bottom.
    pub fn following(mut self, chance: &mut Chance) -> Focus {
        // Lists have gaps.
        self.number += if chance.hits(0.85) { 1 } else { chance.between(2, 9) as u64 };
        self
    }

    /// Exactly this number.
    pub fn numbered(mut self, number: u64) -> Focus {
        self.number = number;
        self
    }

    /// The number that it is about.
    pub fn number(&self) -> u64 {
        self.number
    }
}

fn words(chance: &mut Chance) -> String {
    let count = chance.between(1, 4);
    let words: Vec<&str> = (0..count).map(|_| SUBJECTS[chance.long_tail(24)]).collect();
    words.join(" ")
}

fn text(chance: &mut Chance) -> String {
    let count = chance.log_normal(18.0, 0.7).clamp(3.0, 120.0) as usize;
    let mut text = String::new();
    for place in 0..count {
        if place > 0 {
            text.push(' ');
        }
        if chance.hits(0.5) { text.push_str(chance.pick::<&str>(&SUBJECTS)) } else { text.push_str(&name(chance.next() % 500, 0, 2)) }
    }
    text
}
