//! Completeness of evidence (E1, E6).
