"""The board port: three input lines and three lights, whatever drives them.

| line   | BCM | contact | healthy level |
|--------|-----|---------|---------------|
| button | 17  | normally closed to ground: pressed, unplugged or cut reads open | CLOSED |
| key    | 27  | normally open to ground: CLOSED while the arm key is turned     | OPEN   |
| tamper | 4   | normally closed to ground: case opened reads open               | CLOSED |
| lights | 22 green, 23 yellow, 24 red | | |

Edges are a hint, levels are the truth: a driver reports both, and a level it cannot read is UNKNOWN.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from hardware.pages import BoardKind


class Level(Enum):
    """State of a contact. UNKNOWN counts as tripped."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


class Levels(NamedTuple):
    """All three lines, read within one loop."""

    button: Level
    key: Level
    tamper: Level


class Edge(NamedTuple):
    """A contact changed. at_ns: CLOCK_MONOTONIC, the kernel's time of the event where the driver has it.

    level UNKNOWN: the driver lost an edge or its direction; it counts as an opening.
    """

    line: str
    level: Level
    at_ns: int


@dataclass(frozen=True)
class Pins:
    """BCM numbers."""

    button: int = 17
    key: int = 27
    tamper: int = 4
    green: int = 22
    yellow: int = 23
    red: int = 24


class BoardError(Exception):
    """The named driver cannot be opened or stopped working. The guard does not look for another one.

    do: what mends it, for the person who reads the sentence.
    """

    def __init__(self, sentence: str, do: str = "interlock doctor") -> None:
        super().__init__(sentence)
        self.do = do


class Board(Protocol):
    """What the guard needs. `wait` and `levels` are called by the loop that writes the heartbeat."""

    @property
    def kind(self) -> BoardKind:
        """A simulated board may only trade on paper."""
        ...

    @property
    def name(self) -> str:
        """Driver, for people."""
        ...

    @property
    def kernel_times(self) -> bool:
        """Whether `Edge.at_ns` says when the contact moved, and not when somebody got round to looking."""
        ...

    def wait(self, timeout_s: float) -> list[Edge]:
        """Edges since the last call, oldest first; returns at the first one or after `timeout_s`."""
        ...

    def levels(self) -> Levels:
        """Reads the lines now; UNKNOWN for what cannot be read."""
        ...

    def light(self, green: bool, yellow: bool, red: bool) -> None:
        """Drives the LEDs. Called by the lights thread only."""
        ...

    def serial(self) -> str:
        """Identity of the board, stable over reboots."""
        ...

    def close(self) -> None:
        """Releases the lines. What the LEDs show afterwards is up to the kernel (SAFETY 11)."""
        ...
