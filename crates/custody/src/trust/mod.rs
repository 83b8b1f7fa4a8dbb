//! Home, operator credential, client keys.
