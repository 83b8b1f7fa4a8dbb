//! Cedar policies and the short form (D1).
