"""Interlock: the appliance that stands between trading bots and the exchange."""

__version__ = "0.1.0"
