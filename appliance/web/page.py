"""Status → the whole HTML page, complete without script. Everything from the status is escaped here.

`page.html` is the only markup. `[[id]]` is a cell's text, `[[id@]]` its id and attributes;
`[[#list]]…[[/list]]` is one row, in which `[[0@]]`, `[[1]]` … are the row's cells. The row's markup is also
served as an inert `<template>`, from which the script makes further rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources

from appliance.domain.status import Status
from appliance.web.view import Cell, View, view

_SLOT = re.compile(r"\[\[([a-z0-9-]+)(@?)\]\]")
_BLOCK = re.compile(r"\[\[#([a-z]+)\]\](.*?)\[\[/\1\]\]", re.DOTALL)


def render(status: Status, build: str) -> str:
    """The page for this status. build: see `view`. KeyError only if page.html names an unknown cell."""
    return render_view(view(status, build))


def render_view(shown: View) -> str:
    """The page for a view that was already made."""
    blocks, end = _blocks()
    out = []
    for text, name, row in blocks:
        out.append(_fill(text, shown.one, "id"))
        out.append(f'<template data-rows="{name}">{_blank(row)}</template>')
        for cells in shown.rows[name]:
            numbered = {str(number): cell for number, cell in enumerate(cells)}
            out.append(_fill(row, numbered, "data-c"))
    out.append(_fill(end, shown.one, "id"))
    return "".join(out)


@cache
def template() -> str:
    """The markup with its slots."""
    return resources.files("appliance.web").joinpath("page.html").read_text(encoding="utf-8")


def _fill(markup: str, cells: Mapping[str, Cell], mark: str) -> str:
    """mark: the attribute by which the script finds a cell."""
    pieces, end = _slots(markup)
    out = []
    for text, name, attributes in pieces:
        cell = cells[name]
        out.append(text)
        out.append(_attributes(f'{mark}="{name}"', cell) if attributes else escape(cell.text or ""))
    out.append(end)
    return "".join(out)


def _attributes(first: str, cell: Cell) -> str:
    given = [first]
    for name, value in cell.attrs.items():
        if value is not None:
            given.append(f'{name}="{escape(value)}"' if value else name)
    return " ".join(given)


@cache
def _blank(row: str) -> str:
    return _fill(row, {name: Cell("") for name, _ in _SLOT.findall(row)}, "data-c")


@cache
def _blocks() -> tuple[list[tuple[str, str, str]], str]:
    """([(markup before a list, its name, its row)], markup after the last list)"""
    *pieces, end = _BLOCK.split(template())
    return list(zip(pieces[0::3], pieces[1::3], pieces[2::3], strict=True)), end


@cache
def _slots(markup: str) -> tuple[list[tuple[str, str, str]], str]:
    """([(markup before a slot, its name, "@" for attributes)], markup after the last slot)"""
    *pieces, end = _SLOT.split(markup)
    return list(zip(pieces[0::3], pieces[1::3], pieces[2::3], strict=True)), end
