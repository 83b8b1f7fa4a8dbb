//! Agents' side: HTTP endpoint, stdio bridge, shim.
