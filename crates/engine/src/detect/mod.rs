//! Facts, then Sigma rules (D1–D16).
