//! Drills: real incidents on real traffic.
