"""Durable state: one writer per SQLite file, files written so that a power cut leaves old or new. R2.

    durable, sqlite, keys      helpers, usable for any store
    log_store, log_publish     the audit log's transactions and its public files
    log_wire, log_writer       the process that owns the log
    log_client, log_reader     the core's side of it, and everybody's read-only view
    create                     what `interlock init` makes
"""
