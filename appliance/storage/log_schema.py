"""Tables of the log store, `<dir>/log.db`. The published files lie beside it (`log_publish`).

entries  the log itself: `body` is exactly what was hashed; kind, utc_ns and ref (an order id) repeat
         parts of it for queries and are not trusted by `verify`
orders   the latest state of every order, written in the transaction of the entry `idx` that tells of it
sources  the next sequence number of each source
nodes    roots of full tiles: (level, n) is item n of the tiles of that level, 1 and above
head     one row: the largest (size, root) that may ever be signed, then its checkpoint. It only grows,
         and is durable before the key signs it: no second root of one size (AUDIT, Store)
"""

from __future__ import annotations

VERSION = 1
DATABASE = "log.db"
LOCK = "lock"
RESERVE = "reserve"
INIT = "interlock init"

ENDED = frozenset(
    {"FILLED", "CANCELED", "EXPIRED", "REJECTED", "STOPPED_AT_WIRE", "NEVER_ARRIVED"}
)
"""States of `domain.order.OrderState` from which nothing can fill any more; all others are open."""

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY, kind TEXT NOT NULL, utc_ns INTEGER NOT NULL, ref TEXT, body BLOB NOT NULL
) STRICT;
CREATE INDEX entries_kind ON entries (kind);
CREATE INDEX entries_utc ON entries (utc_ns);
CREATE INDEX entries_ref ON entries (ref) WHERE ref IS NOT NULL;
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, run TEXT NOT NULL, state TEXT NOT NULL, instrument TEXT NOT NULL,
    source TEXT NOT NULL, idx INTEGER NOT NULL, body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_state ON orders (state);
CREATE TABLE sources (src TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    level INTEGER NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root BLOB NOT NULL, checkpoint BLOB
) STRICT;
"""

INSERT_ENTRY = "INSERT INTO entries (idx, kind, utc_ns, ref, body) VALUES (?, ?, ?, ?, ?)"
UPSERT_ORDER = """
INSERT INTO orders (order_id, run, state, instrument, source, idx, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, idx = excluded.idx, body = excluded.body
"""  # run, instrument and source stay as they were when the order was made
UPSERT_SOURCE = """
INSERT INTO sources (src, next) VALUES (?, ?) ON CONFLICT (src) DO UPDATE SET next = excluded.next
"""
INSERT_NODE = "INSERT INTO nodes (level, n, hash) VALUES (?, ?, ?)"
RAISE_HEAD = "UPDATE head SET size = ?, root = ?, checkpoint = NULL WHERE id = 1 AND size < ?"
SIGN_HEAD = "UPDATE head SET checkpoint = ? WHERE id = 1 AND size = ? AND checkpoint IS NULL"
