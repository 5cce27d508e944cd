"""Memory: what happened before, and when it looked like now (L1, L2). R1; modules named `*_store.py` are R2.

A slow or broken memory delays a signal. It never denies an order and never ends the process.
"""
