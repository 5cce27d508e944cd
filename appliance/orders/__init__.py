"""Life-cycle, identity and reconciliation of our orders. Pure."""
