"""Positions, cash, P&L and drawdown from fills, exact to the last unit. Pure."""
