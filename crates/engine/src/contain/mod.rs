//! Containment plans and the freeze set (C1–C3, C10).
