//! Sessions, findings, cases and actions as tables; a projection of the ledger.
