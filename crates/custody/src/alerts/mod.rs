//! Alert channels (N3).
