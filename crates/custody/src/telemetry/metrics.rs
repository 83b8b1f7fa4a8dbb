//! Figures for Prometheus.

use custody_model::{Priority, RuleId, ServerName};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};
use std::{collections::HashMap, time::Duration};

/// Bounds of the decision's time, in seconds.
const BOUNDS: [f64; 12] = [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 0.1, 0.5, 2.0];

/// What was said to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It went on.
    Allowed,
    /// It did not.
    Denied,
    /// It waited for a person.
    Held,
    /// It could not be recorded, and so did not go on.
    Unrecorded,
}

const SAID: [&str; 4] = ["allowed", "denied", "held", "unrecorded"];

/// Both ways through one server.
struct Server {
    to_server: Way,
    to_agent: Way,
}

struct Way {
    said: [IntCounter; 4],
    time: Histogram,
}

impl Way {
    fn count(&self, said: Said, took: Duration) {
        self.said[said as usize].inc();
        self.time.observe(took.as_secs_f64());
    }
}

/// What is looked up when somebody asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// Entries in the ledger.
    pub entries: u64,
    /// Entries that the projection has not applied yet.
    pub behind: u64,
    /// Scopes that are frozen.
    pub frozen: usize,
    /// Live streams, processes and shims.
    pub live: usize,
    /// Calls that wait for a person.
    pub held: usize,
}

/// All figures, since the daemon started.
pub struct Metrics {
    registry: Registry,
    servers: HashMap<ServerName, Server>,
    findings: IntCounterVec,
    refused: IntCounterVec,
    spans_dropped: IntCounter,
    entries: IntGauge,
    behind: IntGauge,
    frozen: IntGauge,
    live: IntGauge,
    held: IntGauge,
    memory: IntGauge,
}

impl Metrics {
    /// With these servers; a message of another is not counted.
    pub fn new(servers: impl Iterator<Item = ServerName>) -> Metrics {
        let registry = Registry::new();
        let messages = kept(
            &registry,
            IntCounterVec::new(
                Opts::new("custody_messages_total", "Messages, by what was said to them."),
                &["server", "direction", "outcome"],
            ),
        );
        let time = kept(
            &registry,
            HistogramVec::new(
                HistogramOpts::new("custody_decision_seconds", "From a whole message to its decision on record.").buckets(BOUNDS.to_vec()),
                &["direction"],
            ),
        );
        let way = |server: &ServerName, direction: &str| Way {
            said: SAID.map(|said| messages.with_label_values(&[server.as_str(), direction, said])),
            time: time.with_label_values(&[direction]),
        };
        let servers = servers.map(|name| {
            let server = Server { to_server: way(&name, "to_server"), to_agent: way(&name, "to_agent") };
            (name, server)
        });
        let gauge = |name: &str, help: &str| kept(&registry, IntGauge::with_opts(Opts::new(name, help)));
        let version = Opts::new("custody_build_info", "Always 1.").const_label("version", env!("CARGO_PKG_VERSION"));
        kept(&registry, IntGauge::with_opts(version)).set(1);
        Metrics {
            servers: servers.collect(),
            findings: kept(&registry, IntCounterVec::new(Opts::new("custody_findings_total", "Findings raised."), &["rule", "priority"])),
            refused: kept(
                &registry,
                IntCounterVec::new(Opts::new("custody_credentials_refused_total", "Requests without a valid credential."), &["listener"]),
            ),
            spans_dropped: kept(&registry, IntCounter::new("custody_spans_dropped_total", "Spans that found no room or no collector.")),
            entries: gauge("custody_ledger_entries", "Entries in the ledger."),
            behind: gauge("custody_projection_behind_entries", "Entries that the tables do not show yet."),
            frozen: gauge("custody_frozen_scopes", "Scopes that are frozen."),
            live: gauge("custody_live_streams", "Live streams, processes and shims."),
            held: gauge("custody_held_calls", "Calls that wait for a person."),
            memory: gauge("process_resident_memory_bytes", "Resident memory."),
            registry,
        }
    }

    /// A message to a server was decided.
    pub fn to_server(&self, server: &ServerName, said: Said, took: Duration) {
        if let Some(server) = self.servers.get(server) {
            server.to_server.count(said, took);
        }
    }

    /// A message to an agent was decided.
    pub fn to_agent(&self, server: &ServerName, said: Said, took: Duration) {
        if let Some(server) = self.servers.get(server) {
            server.to_agent.count(said, took);
        }
    }

    /// A finding was raised.
    pub fn found(&self, rule: &RuleId, priority: Priority) {
        let priority = match priority {
            Priority::P1 => "P1",
            Priority::P2 => "P2",
            Priority::P3 => "P3",
        };
        self.findings.with_label_values(&[rule.as_str(), priority]).inc();
    }

    /// A request came without a valid credential.
    pub fn refused(&self, listener: &str) {
        self.refused.with_label_values(&[listener]).inc();
    }

    /// Counts spans that could not be sent.
    pub fn spans_dropped(&self) -> IntCounter {
        self.spans_dropped.clone()
    }

    /// The text format, version 0.0.4.
    pub fn text(&self, state: State) -> String {
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.entries, state.entries);
        set(&self.behind, state.behind);
        set(&self.frozen, state.frozen as u64);
        set(&self.live, state.live as u64);
        set(&self.held, state.held as u64);
        set(&self.memory, resident_bytes().unwrap_or(0));
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("every family has a name and a sample")
    }
}

fn kept<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names and labels are valid");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_choose_makes_no_label() {
        let metrics = Metrics::new(["files".into()].into_iter());
        metrics.to_server(&"files".into(), Said::Denied, Duration::from_micros(80));
        metrics.to_server(&"made-up".into(), Said::Denied, Duration::from_micros(80));
        let text = metrics.text(State { entries: 7, ..State::default() });
        assert!(text.contains(r#"custody_messages_total{direction="to_server",outcome="denied",server="files"} 1"#), "{text}");
        assert!(text.contains("custody_ledger_entries 7") && !text.contains("made-up"), "{text}");
    }
}
