//! Put Custody into a client's configuration, and take it out again.
