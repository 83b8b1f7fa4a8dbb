//! Sessions grow by links (R9).
