//! One daemon: ledger, decisions, incident pipeline.
