//! What is unusual about one message.

/// A quantity of the session beside the baseline's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measure {
    /// In this session, so far.
    pub value: f64,
    /// What is usual.
    pub usual: f64,
    /// The most that any known session showed.
    pub most: f64,
    /// `value / usual`.
    pub ratio: f64,
    /// `value` over what sessions of these habits stay below: the most that was seen, and a margin for how few were seen.
    pub excess: f64,
    /// Standard deviations above the mean, on the log scale.
    pub z: f64,
    /// Sessions behind it.
    pub samples: u64,
}

/// Something that no known session showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewThing {
    /// What, in words.
    pub what: String,
    /// How often a known-good session shows something new here too, in percent: an upper estimate.
    pub chance: f64,
    /// How many different new things this session showed so far, this one included.
    pub count: u32,
    /// Sessions behind it.
    pub samples: u64,
}

/// Ids asked for one after the other, or many different values of one argument (D15).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Enumeration {
    /// `argument` of `server/tool`.
    pub what: String,
    /// Length of the running sequence of equal steps, such as 1001, 1002, 1003.
    pub run: u32,
    /// Mean milliseconds between two calls of that run.
    pub gap_ms: u64,
    /// Different values in this session.
    pub distinct: u32,
    /// `distinct` beside the baseline's. `None`: the argument has no baseline.
    pub usual: Option<Measure>,
    /// The longest run of a known session.
    pub longest: Option<f64>,
}

/// Everything that the behaviour of a session says about its newest message. What is `None` is not known, or nothing is
/// unusual there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// The profile that was asked, and its sessions.
    pub profile: Option<(String, u64)>,
    /// Calls within the last sixty seconds, beside a session's busiest minute (D3).
    pub rate: Option<Measure>,
    /// Calls of the session (D6).
    pub usage: Option<Measure>,
    /// Calls of this tool in the session (D6).
    pub tool_usage: Option<Measure>,
    /// Calls of this tool without another between them, beside the longest such run of a session (D4).
    pub streak: Option<Measure>,
    /// Bytes that answers of tools known to the profile brought into the session (D7). What a tool brings that nobody uses is that
    /// tool's signal.
    pub volume: Option<Measure>,
    /// Bytes of all its answers, beside the sessions of everybody.
    pub volume_of_all: Option<Measure>,
    /// Seconds since the session's first call (D5).
    pub duration: Option<Measure>,
    /// Calls that may change something, so far (D15).
    pub changes: Option<Measure>,
    /// Calls to tools that no known session used, so far (D6).
    pub unfamiliar: Option<Measure>,
    /// How surprising the last few steps together are (D4): each as many as nobody takes, and the sum is what counts.
    pub surprise: Option<Measure>,
    /// An order of tools that no known session had (D4).
    pub sequence: Option<NewThing>,
    /// A tool that no known session used (D6).
    pub first_use: Option<NewThing>,
    /// Servers of which no known session used a tool, called so far.
    pub new_servers: u32,
    /// A host or mail domain that no known session named here (D6, D7).
    pub destination: Option<NewThing>,
    /// Another value, shape, place or argument that no known session had (D6).
    pub argument: Option<NewThing>,
    /// A number far from the usual, such as an amount.
    pub magnitude: Option<(String, Measure)>,
    /// A file asked for by the name of one that opens other doors, such as `.env` or `id_rsa` (D10).
    pub secret_file: Option<String>,
    /// Known sessions that asked for such files, and known sessions.
    pub secret_files_known: Option<(u64, u64)>,
    /// Enumeration (D15).
    pub enumeration: Option<Enumeration>,
    /// Share of known sessions that were active at this hour, in percent, and the sessions behind it (D6).
    pub hour: Option<(f64, u64)>,
    /// Calls of the principal within the last hour, over all its sessions (D11).
    pub calls_hour: u32,
}
