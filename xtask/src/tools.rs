//! Cargo's own subcommands that the tasks need, installed when missing.

use crate::step;

/// The test runner.
pub const NEXTEST: Tool = Tool { name: "cargo-nextest", version: "0.9.143" };
/// The check of licences, bans, sources and advisories.
pub const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// A cargo subcommand.
pub struct Tool {
    name: &'static str,
    /// What is installed on a machine that has none; any version that is there is used.
    version: &'static str,
}

impl Tool {
    /// Whether the tool is there, after an attempt to install it.
    pub fn ensure(&self) -> bool {
        if self.present() {
            return true;
        }
        let heading = format!("{} is missing; installing {} (a few minutes, once)", self.name, self.version);
        let mut install = step::cargo();
        install.args(["install", "--locked", self.name, "--version", self.version]);
        step::run(&heading, &mut install).is_ok() && self.present()
    }

    fn present(&self) -> bool {
        let subcommand = self.name.trim_start_matches("cargo-");
        step::cargo().args([subcommand, "--version"]).output().is_ok_and(|output| output.status.success())
    }
}
