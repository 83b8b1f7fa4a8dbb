//! Where figures come from: without it they mean nothing.

use serde::Serialize;

/// The machine, and how busy it was before and after.
#[derive(Serialize)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// Their name.
    pub processor: String,
    /// Kernel.
    pub kernel: String,
    /// Average number of running processes in the minute before the start: above 0.3 the machine was busy with something else.
    pub load_before: f64,
    /// The same at the end, where the benchmark itself is in it.
    pub load_after: f64,
    /// Share of the processors' time that the host gave to others during the run.
    pub stolen: f64,
    #[serde(skip)]
    ticks: (f64, f64),
}

impl Machine {
    /// Now.
    pub fn read() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: name.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            load_before: load(),
            load_after: 0.0,
            stolen: 0.0,
            ticks: ticks(),
        }
    }

    /// At the end.
    pub fn read_again(&mut self) {
        let (all, stolen) = ticks();
        self.load_after = load();
        self.stolen = (stolen - self.ticks.1) / (all - self.ticks.0).max(1.0);
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// All ticks, and those stolen.
fn ticks() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
    (ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or(0.0))
}
