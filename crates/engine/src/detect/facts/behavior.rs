//! `rate.*`, `usage.*`, `tool_usage.*`, `volume.*`, `duration.*`, `magnitude.*`: quantities beside the baseline's (D3, D5–D7).
//! `sequence.*`, `first_use.*`, `destination.*`, `argument.*`: what no known session showed (D4, D6).
//! `enumeration.*`, `hour.*`, `principal.calls_hour` (D6, D11, D15). `baseline.*`: against what.

use super::{Fact, FactValue};
use crate::behavior::Measure;

/// The facts of one quantity. `$value` is what its own number is called.
macro_rules! measured {
    ($name:literal, $value:literal, $of:expr) => {
        &[
            Fact { name: concat!($name, ".", $value), value: |facts| number($of(&facts.signals), |m| m.value) },
            Fact { name: concat!($name, ".usual"), value: |facts| number($of(&facts.signals), |m| m.usual) },
            Fact { name: concat!($name, ".most"), value: |facts| number($of(&facts.signals), |m| m.most) },
            Fact { name: concat!($name, ".ratio"), value: |facts| number($of(&facts.signals), |m| m.ratio) },
            Fact { name: concat!($name, ".excess"), value: |facts| number($of(&facts.signals), |m| m.excess) },
            Fact { name: concat!($name, ".z"), value: |facts| number($of(&facts.signals), |m| m.z) },
            Fact { name: concat!($name, ".samples"), value: |facts| number($of(&facts.signals), |m| m.samples as f64) },
        ]
    };
}

/// The facts of one kind of new thing.
macro_rules! new_thing {
    ($name:literal, $of:ident) => {
        &[
            Fact { name: concat!($name, ".what"), value: |facts| Some(facts.signals.$of.as_ref()?.what.as_str().into()) },
            Fact { name: concat!($name, ".chance"), value: |facts| Some(FactValue::Float(facts.signals.$of.as_ref()?.chance)) },
            Fact { name: concat!($name, ".count"), value: |facts| Some(FactValue::Number(facts.signals.$of.as_ref()?.count.into())) },
            Fact { name: concat!($name, ".samples"), value: |facts| whole(facts.signals.$of.as_ref()?.samples) },
        ]
    };
}

pub(super) static RATE: &[Fact] = measured!("rate", "count", |s: &crate::behavior::Signals| s.rate);
pub(super) static USAGE: &[Fact] = measured!("usage", "count", |s: &crate::behavior::Signals| s.usage);
pub(super) static TOOL_USAGE: &[Fact] = measured!("tool_usage", "count", |s: &crate::behavior::Signals| s.tool_usage);
pub(super) static VOLUME: &[Fact] = measured!("volume", "bytes", |s: &crate::behavior::Signals| s.volume);
pub(super) static VOLUME_OF_ALL: &[Fact] = measured!("volume_of_all", "bytes", |s: &crate::behavior::Signals| s.volume_of_all);
pub(super) static DURATION: &[Fact] = measured!("duration", "seconds", |s: &crate::behavior::Signals| s.duration);
pub(super) static STREAK: &[Fact] = measured!("streak", "count", |s: &crate::behavior::Signals| s.streak);
pub(super) static CHANGES: &[Fact] = measured!("changes", "count", |s: &crate::behavior::Signals| s.changes);
pub(super) static UNFAMILIAR: &[Fact] = measured!("unfamiliar", "count", |s: &crate::behavior::Signals| s.unfamiliar);
pub(super) static SURPRISE: &[Fact] = measured!("surprise", "nats", |s: &crate::behavior::Signals| s.surprise);
pub(super) static MAGNITUDE: &[Fact] =
    measured!("magnitude", "value", |s: &crate::behavior::Signals| s.magnitude.as_ref().map(|(_, measure)| *measure));
pub(super) static SEQUENCE: &[Fact] = new_thing!("sequence", sequence);
pub(super) static FIRST_USE: &[Fact] = new_thing!("first_use", first_use);
pub(super) static DESTINATION: &[Fact] = new_thing!("destination", destination);
pub(super) static ARGUMENT: &[Fact] = new_thing!("argument", argument);

pub(super) static FACTS: &[Fact] = &[
    Fact { name: "baseline.profile", value: |facts| Some(facts.signals.profile.as_ref()?.0.as_str().into()) },
    Fact { name: "baseline.sessions", value: |facts| whole(facts.signals.profile.as_ref()?.1) },
    Fact { name: "magnitude.what", value: |facts| Some(facts.signals.magnitude.as_ref()?.0.as_str().into()) },
    Fact { name: "secret_file", value: |facts| Some(facts.signals.secret_file.as_deref()?.into()) },
    Fact { name: "secret_file.known", value: |facts| whole(facts.signals.secret_files_known?.0) },
    Fact { name: "secret_file.samples", value: |facts| whole(facts.signals.secret_files_known?.1) },
    Fact {
        name: "first_use.servers",
        value: |facts| facts.signals.first_use.as_ref().map(|_| FactValue::Number(facts.signals.new_servers.into())),
    },
    Fact { name: "enumeration.what", value: |facts| Some(facts.signals.enumeration.as_ref()?.what.as_str().into()) },
    Fact { name: "enumeration.run", value: |facts| Some(FactValue::Number(facts.signals.enumeration.as_ref()?.run.into())) },
    Fact { name: "enumeration.gap_ms", value: |facts| whole(facts.signals.enumeration.as_ref()?.gap_ms) },
    Fact { name: "enumeration.distinct", value: |facts| Some(FactValue::Number(facts.signals.enumeration.as_ref()?.distinct.into())) },
    Fact { name: "enumeration.ratio", value: |facts| number(facts.signals.enumeration.as_ref()?.usual, |m| m.ratio) },
    Fact { name: "enumeration.excess", value: |facts| number(facts.signals.enumeration.as_ref()?.usual, |m| m.excess) },
    Fact { name: "enumeration.samples", value: |facts| number(facts.signals.enumeration.as_ref()?.usual, |m| m.samples as f64) },
    Fact { name: "enumeration.longest", value: |facts| Some(FactValue::Float(facts.signals.enumeration.as_ref()?.longest?)) },
    // No field is compared with a field in Sigma, so the quotient is a fact.
    Fact {
        name: "enumeration.run_excess",
        value: |facts| {
            let enumeration = facts.signals.enumeration.as_ref()?;
            Some(FactValue::Float(f64::from(enumeration.run) / enumeration.longest?.max(1.0)))
        },
    },
    Fact { name: "hour.share", value: |facts| Some(FactValue::Float(facts.signals.hour?.0)) },
    Fact { name: "hour.samples", value: |facts| whole(facts.signals.hour?.1) },
    Fact {
        name: "principal.calls_hour",
        value: |facts| (facts.signals.calls_hour > 0).then(|| FactValue::Number(facts.signals.calls_hour.into())),
    },
];

fn number<'a>(measure: Option<Measure>, of: fn(&Measure) -> f64) -> Option<FactValue<'a>> {
    Some(FactValue::Float(of(&measure?)))
}

fn whole<'a>(number: u64) -> Option<FactValue<'a>> {
    Some(FactValue::Number(i64::try_from(number).unwrap_or(i64::MAX)))
}
