"""The real board through gpiozero, on the pin factory the configuration names, and on no other.

gpiozero falls back silently to another driver when its first choice fails (STYLE 5); here the factory is
constructed by name and anything but success is a BoardError. gpiozero fires no callback for the level at
start, so levels are read. Pull-ups are on: an unplugged wire reads open.

| pin factory | boards and kernels               | time of an edge       | direction of an edge  |
|-------------|----------------------------------|-----------------------|-----------------------|
| lgpio       | all                              | the kernel's          | as the kernel read it |
| rpigpio     | to the Pi 4, below Linux 6.6     | when its callback ran | the level just then   |
| native      | to the Pi 4, below Linux 6.6     | when its thread ran   | the level just then   |

A direction is a level read after the interrupt (the kernel's too, when it watches both directions): an
opening of microseconds looks like a second closing. A second edge of one direction is reported as UNKNOWN.
"""

from __future__ import annotations

import os
import platform
import re
import select
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from hardware.board import BoardError, Edge, Level, Levels, Pins
from hardware.pages import BoardKind

FACTORIES: dict[str, tuple[str, str]] = {
    "lgpio": ("gpiozero.pins.lgpio", "LGPIOFactory"),
    "rpigpio": ("gpiozero.pins.rpigpio", "RPiGPIOFactory"),
    "native": ("gpiozero.pins.native", "NativeFactory"),
    "mock": ("gpiozero.pins.mock", "MockFactory"),
}
"""Name in the configuration → gpiozero's module and class. `mock` is for tests and counts as simulated."""

SYSFS_FACTORIES = {"rpigpio": "RPi.GPIO", "native": "gpiozero's native driver"}
SYSFS_ENDS = (6, 6)
"""From this kernel on, lines have other numbers in sysfs, and a driver that waits for edges there cannot
(raspberrypi/linux 6037, gpiozero 1136)."""
MONOTONIC_SINCE = (5, 7)
"""Before this kernel the times of edges were those of the wall clock."""
_PI_5 = re.compile(r"Raspberry Pi (Compute Module )?5(00)?\b")
_MODELS = ("/sys/firmware/devicetree/base/model", "/proc/device-tree/model")
_SERIALS = ("/sys/firmware/devicetree/base/serial-number", "/proc/device-tree/serial-number")

PinFactory = Any  # gpiozero ships no types; this module is the only one that touches it


def refusal(name: str, kernel: str, model: str) -> str:
    """Why the named factory cannot work here; empty if it may. kernel: `uname -r`; model: device tree's."""
    driver = SYSFS_FACTORIES.get(name)
    if driver is None:
        return ""
    if _PI_5.match(model):
        return f"pin factory {name}: {driver} does not know the {model}"
    if _version(kernel) >= SYSFS_ENDS:
        return f"pin factory {name}: {driver} gets no edges from Linux 6.6 on, and this is {kernel}"
    return ""


def open_factory(name: str) -> PinFactory:
    """Constructs exactly the named pin factory. Raises BoardError with gpiozero's own reason."""
    if name not in FACTORIES:
        raise BoardError(f"pin factory {name!r} is not one of {', '.join(FACTORIES)}")
    if why := refusal(name, platform.release(), _first(_MODELS)):
        raise BoardError(why, 'set pin_factory = "lgpio" in guard.toml')
    module, attribute = FACTORIES[name]
    try:
        return getattr(import_module(module), attribute)()
    except Exception as error:  # drivers raise anything, from ImportError to lgpio.error
        raise BoardError(f"pin factory {name} cannot be opened: {type(error).__name__}: {error}") from error


class GpiozeroBoard:
    """Three input pins with pull-up and edge detection, three output pins."""

    def __init__(self, factory_name: str, pins: Pins, factory: PinFactory | None = None) -> None:
        self.name = f"gpiozero/{factory_name}"
        self.kind = BoardKind.SIMULATED if factory_name == "mock" else BoardKind.GPIOZERO
        self.kernel_times = factory_name == "lgpio" and _version(platform.release()) >= MONOTONIC_SINCE
        self._factory = factory if factory is not None else open_factory(factory_name)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._edges: deque[Edge] = deque(maxlen=1024)
        self._last: dict[str, Level] = {}  # direction of each line's last edge; owned by the driver's thread
        self._last_ns = 0
        try:
            self._inputs = {line: self._input(number) for line, number in _inputs(pins)}
            self._outputs = [self._output(number) for number in (pins.green, pins.yellow, pins.red)]
            # gpiozero keeps only a weak reference to a callback: without ours, edges end in silence.
            self._callbacks = {line: self._notifier(line) for line in self._inputs}
            for line, pin in self._inputs.items():
                pin.edges = "both"
                pin.when_changed = self._callbacks[line]
                self._last.setdefault(line, self._read(pin))
        except Exception as error:  # as above
            self.close()
            raise BoardError(f"{self.name}: {type(error).__name__}: {error}") from error
        self._lit = [False, False, False]

    def wait(self, timeout_s: float) -> list[Edge]:
        """Sleeps until the driver's thread reports an edge or the timeout passes."""
        ready, _, _ = select.select([self._wake], [], [], timeout_s)
        if ready:
            os.eventfd_read(self._wake)
        edges = []
        while self._edges:
            edges.append(self._edges.popleft())
        return edges

    def levels(self) -> Levels:
        """Reads the three pins; a pin the driver cannot read is UNKNOWN."""
        return Levels(*(self._read(self._inputs[line]) for line in ("button", "key", "tamper")))

    def light(self, green: bool, yellow: bool, red: bool) -> None:
        """Writes only what changed: an LED write is an ioctl."""
        for index, on in enumerate((green, yellow, red)):
            if self._lit[index] is not on:
                self._outputs[index].state = on
                self._lit[index] = on

    def serial(self) -> str:
        """The board's serial number as the firmware gives it."""
        return _first(_SERIALS) or "unknown"

    def close(self) -> None:
        """Releases the pins and the driver."""
        self._factory.close()
        os.close(self._wake)

    def _input(self, number: int) -> Any:
        pin = self._factory.pin(number)
        pin.function = "input"
        pin.pull = "up"
        return pin

    def _output(self, number: int) -> Any:
        pin = self._factory.pin(number)
        pin.function = "output"
        pin.state = False
        return pin

    def _notifier(self, line: str) -> Callable[[float, bool], None]:
        def changed(ticks: float, state: bool) -> None:
            """Called by the driver's thread, with CLOCK_MONOTONIC in seconds: the kernel's, or its own."""
            level, now_ns = Level.OPEN if state else Level.CLOSED, time.monotonic_ns()
            at_ns = min(round(ticks * 1e9), now_ns) if self.kernel_times else now_ns
            at_ns = self._last_ns = max(at_ns, self._last_ns)
            again = self._last.get(line) is level
            self._last[line] = level
            self._edges.append(Edge(line, Level.UNKNOWN if again else level, at_ns))
            os.eventfd_write(self._wake, 1)

        return changed

    @staticmethod
    def _read(pin: Any) -> Level:
        try:
            return Level.OPEN if pin.state else Level.CLOSED
        except Exception:  # noqa: BLE001 - whatever the driver raises, the level is not known
            return Level.UNKNOWN


def _inputs(pins: Pins) -> tuple[tuple[str, int], ...]:
    return (("button", pins.button), ("key", pins.key), ("tamper", pins.tamper))


def _version(release: str) -> tuple[int, int]:
    """(6, 6) of `6.6.20+rpt-rpi-v8`; (0, 0) for what cannot be read: then the driver itself decides."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _first(sources: tuple[str, ...]) -> str:
    """Text of the first of these files that can be read; empty if none can."""
    for source in sources:
        try:
            return Path(source).read_text("ascii").strip("\0\n ")
        except OSError:
            continue
    return ""
