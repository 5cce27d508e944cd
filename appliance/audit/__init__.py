"""The audit log as pure functions: bytes in, verified values or an error out. R1.

records → merkle → tiles, and notes → checkpoint, build on each other in this order; `verify` reads them all.
"""
