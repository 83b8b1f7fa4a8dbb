//! Investigation on small stories.
