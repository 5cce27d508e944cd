"""Frozen values every other package speaks in. R0: no IO, no clock, no randomness."""
