"""A story as a tree of text lines."""

from __future__ import annotations

from appliance.audit.chain_words import Row, Stamp, Story

_NAME = 8


def text_lines(story: Story, stamp: Stamp, times: dict[int, int]) -> list[tuple[str, str]]:
    """(line, style): title, facts, tree, notes. style: "bold" for what was asked about, "red" for a warning.

    times: UTC nanoseconds of every entry.
    """
    lines = [(story.title, "bold")]
    lines += [(f"{name:<{_NAME}} {text}", "") for name, text in story.facts]
    lines.append(("", ""))
    for row in story.rows:
        lines += _row(row, stamp(times[row.index]))
    lines += [(f"note: {note}", "red") for note in story.notes]
    return lines


def _row(row: Row, when: str) -> list[tuple[str, str]]:
    lead, below = branches(row.rails)
    again = " (shown above)" if row.again else ""
    style = "bold" if row.focus else ""
    found = [(f"{lead}#{row.index} {when} {row.kind}: {row.title}{again}", style)]
    return found + [(f"{below}     {detail}", "") for detail in row.details]


def branches(rails: tuple[bool, ...]) -> tuple[str, str]:
    """What stands before an entry's line, and before the lines below it."""
    if not rails:
        return "", ""
    outer = "".join("│  " if more else "   " for more in rails[:-1])
    return outer + ("├─ " if rails[-1] else "└─ "), outer + ("│  " if rails[-1] else "   ")
