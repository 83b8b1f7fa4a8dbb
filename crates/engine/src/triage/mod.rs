//! Triage, severity, type and clocks (T1–T3, C9).
