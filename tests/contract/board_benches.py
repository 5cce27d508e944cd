"""One bench for each driver: a board, and a hand on its contacts, for the contract suite.

What stands in for hardware, and what is patched, is said at each bench; the product knows nothing of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from unittest import mock

from appliance.runtime.board_socket import command_board
from hardware.board import Board, Level, Levels, Pins
from hardware.board_gpiozero import GpiozeroBoard, open_factory
from hardware.board_simulated import SimulatedBoard

HEALTHY = Levels(Level.CLOSED, Level.OPEN, Level.CLOSED)
LINES = {"button": 17, "key": 27, "tamper": 4}
LIGHTS = (22, 23, 24)
PI_4 = 0xC03114


class Bench(Protocol):
    """A board whose contacts stood as given before it was opened."""

    board: Board

    def contact(self, line: str, closed: bool) -> None:
        """Closes or opens a contact to ground."""
        ...

    def lit(self) -> tuple[bool, ...]:
        """Levels of the three LED outputs, as the driver's other side has them."""
        ...

    def break_reading(self) -> None:
        """From now on the driver fails when a line is read."""
        ...

    def close(self) -> bool:
        """Closes the board; True if the driver's other side has everything back."""
        ...


class SimulatedBench:
    """The contacts are moved from another thread, as `interlock board` does from another process."""

    def __init__(self, runtime: Path, start: Levels = HEALTHY) -> None:
        self.board: Board = SimulatedBoard(runtime)
        self._runtime = runtime
        self._own._levels.update(start._asdict())

    @property
    def _own(self) -> SimulatedBoard:
        assert isinstance(self.board, SimulatedBoard)
        return self.board

    def contact(self, line: str, closed: bool) -> None:
        """Sends the command while this thread lets the board listen."""
        words = {
            ("button", True): "release",
            ("button", False): "press",
            ("key", True): "key close",
            ("key", False): "key open",
            ("tamper", True): "tamper close",
            ("tamper", False): "tamper open",
        }
        answers: list[str] = []
        sender = threading.Thread(
            target=lambda: answers.append(command_board(self._runtime, words[line, closed]))
        )
        sender.start()
        edges = self._own.wait(5)
        sender.join(5)
        assert answers == ["ok"]
        self._own._edges.extend(edges)

    def lit(self) -> tuple[bool, ...]:
        """What `state` answers."""
        return tuple(letter != "-" for letter in self._own._state().rpartition("lights=")[2])

    def break_reading(self) -> None:
        """As the command `fail`."""
        assert self._own._obey(b"fail", 1) == b"ok"

    def close(self) -> bool:
        """The socket is gone."""
        self.board.close()
        return list(self._runtime.iterdir()) == []


class MockBench:
    """gpiozero's mock pins. An undriven pulled-up pin reads open and constructing one resets its level, so
    the contacts are put where they belong afterwards, and the edges of that are thrown away."""

    def __init__(self, _runtime: Path, start: Levels = HEALTHY) -> None:
        self._factory = open_factory("mock")
        self.board: Board = GpiozeroBoard("mock", Pins(), self._factory)
        for line, level in start._asdict().items():
            self.contact(line, closed=level is Level.CLOSED)
        self.board.wait(0)

    def contact(self, line: str, closed: bool) -> None:
        """A closed contact pulls the pin low."""
        pin = self._factory.pin(LINES[line])
        pin.drive_low() if closed else pin.drive_high()

    def lit(self) -> tuple[bool, ...]:
        """The output pins' states."""
        return tuple(bool(self._factory.pin(number).state) for number in LIGHTS)

    def break_reading(self) -> None:
        """Every input pin raises."""
        for number in LINES.values():
            pin = self._factory.pin(number)
            pin.__class__ = type("Broken", (pin.__class__,), {"_get_state": _raise})

    def close(self) -> bool:
        """No pin is left."""
        self.board.close()
        return not self._factory.pins


class _DriverBench:
    """A gpiozero factory over a stand-in of the library below it.

    Patched: the library in sys.modules, and the board's revision, which gpiozero reads from the device tree
    (a Pi 4). gpiozero's own factory and pin classes are the real ones. `open_factory` is not asked: it would
    refuse RPi.GPIO on a newer kernel, rightly.
    """

    name: str
    factory: tuple[str, str]

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self._patches = contextlib.ExitStack()
        module, attribute = self.factory
        local = importlib.import_module("gpiozero.pins.local")
        self._patches.enter_context(mock.patch.dict(sys.modules, modules))
        self._patches.callback(sys.modules.pop, module, None)
        self._patches.enter_context(
            mock.patch.object(local.LocalPiFactory, "_get_revision", return_value=PI_4)
        )
        sys.modules.pop(module, None)
        driver = importlib.import_module(module)
        self.board: Board = GpiozeroBoard(self.name, Pins(), getattr(driver, attribute)())

    def _close(self) -> None:
        self.board.close()
        self._patches.close()


class RpiGpioBench(_DriverBench):
    """gpiozero's rpigpio factory over fake-rpi (TOOLCHAIN 5).

    Patched in fake-rpi, which knows neither wires nor edges: `input` of a pin nobody has moved is the pull-up
    instead of a random level; `gpio_function` says what `setup` set instead of always OUT; `output` and
    `input` of an output agree; event detection calls its callback, as the C library's thread does. Its
    banners and its printing of every call go nowhere.
    """

    name = "rpigpio"
    factory = ("gpiozero.pins.rpigpio", "RPiGPIOFactory")

    def __init__(self, _runtime: Path, start: Levels = HEALTHY) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._gpio = _wired_fake_rpi()
        for line, level in start._asdict().items():
            self._gpio.levels[LINES[line]] = int(level is Level.OPEN)
        package = ModuleType("RPi")
        package.GPIO = self._gpio  # type: ignore[attr-defined]
        super().__init__({"RPi": package, "RPi.GPIO": self._gpio})

    def contact(self, line: str, closed: bool) -> None:
        """Moves the line and calls back, without a level: RPi.GPIO's callbacks carry none."""
        self._gpio.move(LINES[line], int(not closed))

    def lit(self) -> tuple[bool, ...]:
        """What was written."""
        return tuple(bool(self._gpio.levels[number]) for number in LIGHTS)

    def break_reading(self) -> None:
        """As RPi.GPIO does for a channel that was not set up."""
        self._gpio.broken = True

    def close(self) -> bool:
        """Every channel cleaned up, no edge detection left."""
        self._close()
        return not self._gpio.functions and not self._gpio.callbacks


def _wired_fake_rpi() -> Any:
    base: Any = importlib.import_module("fake_rpi.RPi")._GPIO

    class Wired(base):  # type: ignore[misc]
        """fake-rpi's GPIO with wires."""

        def __init__(self) -> None:
            super().__init__()
            self.levels: dict[int, int] = {}
            self.functions: dict[int, int] = {}
            self.callbacks: dict[int, Callable[[int], None]] = {}
            self.broken = False

        def setmode(self, mode: int) -> None:
            assert mode == self.BCM

        def setwarnings(self, _on: bool) -> None: ...

        def setup(self, channel: int, function: int, *_pull: int, initial: int = 0) -> None:
            self.functions[channel] = function
            self.levels.setdefault(channel, initial if function == self.OUT else 1)

        def gpio_function(self, channel: int) -> int:
            return self.functions[channel]

        def input(self, channel: int) -> int:
            if self.broken:
                raise RuntimeError("You must setup() the GPIO channel first")
            return self.levels[channel]

        def output(self, channel: int, level: bool) -> None:
            assert self.functions[channel] == self.OUT
            self.levels[channel] = int(level)

        def add_event_detect(
            self, channel: int, edge: int, callback: Callable[[int], None], bouncetime: int
        ) -> None:
            assert (edge, bouncetime) == (self.BOTH, -666), "no driver may debounce"
            self.callbacks[channel] = callback

        def remove_event_detect(self, channel: int) -> None:
            self.callbacks.pop(channel, None)

        def cleanup(self, channel: int | None = None) -> None:
            for known in [channel] if channel is not None else list(self.functions):
                self.functions.pop(known, None)
                self.callbacks.pop(known, None)

        def move(self, channel: int, level: int) -> None:
            changed = self.levels[channel] != level
            self.levels[channel] = level
            if changed and channel in self.callbacks:
                self.callbacks[channel](channel)

    return Wired()


class LgpioBench(_DriverBench):
    """gpiozero's lgpio factory over a stand-in for the lgpio module: lines, outputs, and callbacks that carry
    level and time as the kernel's event does. No kernel and no gpiochip: the virtual machine has those."""

    name = "lgpio"
    factory = ("gpiozero.pins.lgpio", "LGPIOFactory")

    def __init__(self, _runtime: Path, start: Levels = HEALTHY) -> None:
        self.chip = FakeChip()
        for line, level in start._asdict().items():
            self.chip.levels[LINES[line]] = int(level is Level.OPEN)
        super().__init__({"lgpio": self.chip.module()})

    def contact(self, line: str, closed: bool) -> None:
        """Moves the line and reports the event."""
        self.chip.move(LINES[line], int(not closed), time.monotonic_ns())

    def lit(self) -> tuple[bool, ...]:
        """What was written."""
        return tuple(bool(self.chip.levels[number]) for number in LIGHTS)

    def break_reading(self) -> None:
        """As lgpio does for a handle that is gone."""
        self.chip.broken = True

    def close(self) -> bool:
        """The chip's handle was given back."""
        self._close()
        return not self.chip.opened


class FakeChip:
    """What gpiozero uses of lgpio 0.2."""

    def __init__(self) -> None:
        self.opened = self.broken = False
        self.levels: dict[int, int] = {}
        self.modes: dict[int, int] = {}
        self.callbacks: dict[int, Callable[[int, int, int, int], None]] = {}

    def module(self) -> ModuleType:
        """The names gpiozero imports."""
        module = ModuleType("lgpio")
        made: Any = module
        made.SET_PULL_UP, made.SET_PULL_DOWN, made.SET_PULL_NONE = 32, 64, 128
        made.RISING_EDGE, made.FALLING_EDGE, made.BOTH_EDGES = 1, 2, 3
        made.error = RuntimeError
        made.gpiochip_open, made.gpiochip_close = self._open, self._close
        made.gpio_claim_input = lambda _handle, gpio, flags=0: self._claim(gpio, 256 | flags)
        made.gpio_claim_output = lambda _handle, gpio: self._claim(gpio, 2)
        made.gpio_claim_alert = lambda _handle, gpio, _edges, flags: self._claim(gpio, 1024 | flags)
        made.gpio_free = lambda _handle, gpio: self.modes.pop(gpio)
        made.gpio_get_mode = lambda _handle, gpio: self.modes[gpio]
        made.gpio_read, made.gpio_write = self._read, self._write
        made.callback = self._callback
        return module

    def move(self, gpio: int, level: int, at_ns: int) -> None:
        """An event, if somebody watches the line."""
        changed = self.levels[gpio] != level
        self.levels[gpio] = level
        if changed:
            self.report(gpio, level, at_ns)

    def report(self, gpio: int, level: int, at_ns: int) -> None:
        """An event with the kernel's level and time, whatever the line reads."""
        if gpio in self.callbacks:
            self.callbacks[gpio](0, gpio, level, at_ns)

    def _open(self, chip: int) -> int:
        assert chip == 0
        self.opened = True
        return 0

    def _close(self, _handle: int) -> None:
        self.opened = False

    def _claim(self, gpio: int, mode: int) -> None:
        self.modes[gpio] = mode
        self.levels.setdefault(gpio, 0 if mode & 2 else 1)

    def _read(self, _handle: int, gpio: int) -> int:
        if self.broken:
            raise RuntimeError("bad handle")
        return self.levels[gpio]

    def _write(self, _handle: int, gpio: int, level: bool) -> None:
        assert self.modes[gpio] & 2
        self.levels[gpio] = int(level)

    def _callback(
        self, _handle: int, gpio: int, edges: int, function: Callable[[int, int, int, int], None]
    ) -> Any:
        assert edges == 3
        assert self.modes[gpio] & (1024 | 32) == 1024 | 32, "an alert, and the pull-up still on"
        self.callbacks[gpio] = function
        return mock.Mock(cancel=lambda: self.callbacks.pop(gpio, None))


def _raise(_pin: object) -> bool:
    raise RuntimeError("driver says no")


BENCHES: tuple[Callable[[Path, Levels], Bench], ...] = (SimulatedBench, MockBench, RpiGpioBench, LgpioBench)
