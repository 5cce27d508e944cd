"""The local status page: read only, no buttons, no live positions, no P&L (USR-11, SAFETY 11 and 12)."""
