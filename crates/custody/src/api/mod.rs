//! The operators' listener, and the client of it.
