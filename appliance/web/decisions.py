"""/decisions: the latest verdicts of the gate, each a link to its picture. Plain HTML, whole, without script.

A page of its own, because the status page's script may set no address.
"""

from __future__ import annotations

from html import escape

from appliance.domain.status import Status
from appliance.web.view import Row, decision_rows

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Decisions – Interlock</title>
<link rel="icon" href="/static/favicon.svg">
<link rel="stylesheet" href="/static/style.css">
<main class="plain">
<p><a href="/">Status</a></p>
<h1>Decisions of the gate</h1>
"""
_FOOT = """<p class="note">Sides, sizes, prices and fills are not shown: they would tell positions. On the
box: <code>interlock audit why</code> and the number of the entry.</p>
</main>
</html>
"""


def render_decisions(status: Status) -> str:
    """The whole page. Everything from the status is escaped here; an address is made of a number alone."""
    rows = zip(status.decisions, decision_rows(status), strict=True)
    items = [_item(max(0, each.index), row) for each, row in rows]
    found = f"<ul>\n{''.join(items)}</ul>\n" if items else "<p>Nothing was decided since this start.</p>\n"
    return _HEAD + found + _FOOT


def _item(index: int, row: Row) -> str:
    entry, said, source, when = (escape(cell.text or "") for cell in row[1:])
    return f'<li><a href="/chain/{index}.svg">{entry}</a>: {said}, {source}, {when}</li>\n'
