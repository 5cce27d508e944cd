"""The guard process: opens the board and the pages, then reads the lines for ever.

    interlock guard --state DIR --runtime DIR

Threads: the loop (SCHED_FIFO, reads lines, writes the page, nothing else), the lights (LEDs, watchdog
pings, messages: whatever may be slow), the latch (disk), the operator's socket where guard.toml names a key.
Exit codes as the core's: 75 second instance, 77 permission, 78 configuration, 69 board, 130 interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from hardware import pages, realtime
from hardware.board import Board, BoardError
from hardware.board_simulated import SimulatedBoard
from hardware.config import GuardConfig, GuardConfigError, load, load_wiring
from hardware.guard import Guard, fault_lights
from hardware.latch import LatchKeeper, card_id, judge, read_record
from hardware.lights import Pattern, is_lit, until_change_ms
from hardware.notify import Notifier
from hardware.operator_command import Box, OperatorDesk, fingerprint
from hardware.operator_socket import OperatorSocket, remove_socket
from hardware.pages import CORE_PAGE, GUARD_LAYOUT, GUARD_PAGE, GuardFlag, GuardWord

LOOP_S = 0.020
LIGHTS_S = 0.100  # the longest time between two looks at the heartbeat; patterns and changes wake it sooner
REMAP_NS = 100_000_000
EXIT_BOARD, EXIT_BUSY, EXIT_PERMISSION, EXIT_CONFIG = 69, 75, 77, 78


class GuardExitError(Exception):
    """Ends the process with a sentence and a code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Lights(threading.Thread):
    """Drives LEDs and the service manager's watchdog at normal priority.

    Green is lit only while the loop's heartbeat moves, and the watchdog is fed only then. It sleeps to the
    next boundary of a pattern; the loop wakes it by an eventfd, which no lock and no reader can delay.
    """

    def __init__(self, board: Board, guard: Guard, notifier: Notifier) -> None:
        super().__init__(name="lights", daemon=True)
        self._board, self._guard, self._notifier = board, guard, notifier
        self._done = threading.Event()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told = guard.lights
        self._lamp_test_until_ms = int(time.monotonic() * 1000) + 600

    def follow(self) -> None:
        """Called by the loop after each pass: wakes the thread if the patterns are others than before."""
        if self._guard.lights is not self._told:
            self._told = self._guard.lights
            os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Until `finish`; a board that cannot light ends the process: a dark box says nothing true."""
        realtime.leave_realtime()
        fed_ns = seen_ns = 0
        while not self._done.is_set():
            now_ms = int(time.monotonic() * 1000)
            beat_ns = self._guard.page[GuardWord.HEARTBEAT_NS]
            alive = pages.age_ns(beat_ns) < 250_000_000
            longest_ms = self._show(now_ms, alive)
            if self._notifier.watchdog_s and beat_ns != seen_ns and time.monotonic_ns() - fed_ns > 1e9 * (
                self._notifier.watchdog_s / 2
            ):
                self._notifier.send("WATCHDOG=1")
                fed_ns, seen_ns = time.monotonic_ns(), beat_ns
            if select.select([self._bell], [], [], min(LIGHTS_S, longest_ms / 1000))[0]:
                os.eventfd_read(self._bell)

    def _show(self, now_ms: int, alive: bool) -> int:
        """How long what is lit now stays so, in ms."""
        if now_ms < self._lamp_test_until_ms:
            self._board.light(True, True, True)
            return self._lamp_test_until_ms - now_ms
        patterns = self._guard.lights if alive else fault_lights()
        green, yellow, red = (is_lit(pattern, now_ms) for pattern in patterns)
        self._board.light(green, yellow, red)
        return min(until_change_ms(pattern, now_ms) for pattern in patterns)

    def finish(self) -> None:
        """Stops the patterns and leaves the fault lights on: nobody watches the button any more."""
        self._done.set()
        os.eventfd_write(self._bell, 1)
        self.join(timeout=1)
        green, yellow, red = (pattern is Pattern.STEADY for pattern in fault_lights())
        self._board.light(green, yellow, red)


def _open_board(config: GuardConfig, runtime: Path) -> Board:
    if config.driver == "simulated":
        return SimulatedBoard(runtime)
    os.chdir(runtime)  # lgpio makes a FIFO in the current directory when imported, and fails where it cannot
    from hardware.board_gpiozero import GpiozeroBoard  # heavy, and absent on a machine without gpiozero

    board = GpiozeroBoard(config.pin_factory, config.pins)
    if config.glitch_filter_ns and not board.kernel_times:
        board.close()
        raise GuardExitError(
            EXIT_CONFIG,
            f"cannot use board.glitch_filter. {board.name} says when it noticed an edge, not when the contact"
            " moved: under load a press could pass for a glitch."
            ' DO: set glitch_filter = "0 ms" in guard.toml, or pin_factory = "lgpio"',
        )
    return board


def _take_commands(
    config: GuardConfig, runtime: Path, guard: Guard, identity: tuple[str, str, str]
) -> OperatorSocket | None:
    """Starts taking signed operator commands, if guard.toml names a key. No trouble here stops the guard."""
    try:
        if not config.operator_key:
            remove_socket(runtime)
            return None
        box = Box(identity[2], identity[0], guard.page[GuardWord.GENERATION])
        desk = OperatorDesk(config.operator_key, box, guard.moment, os.urandom)
        made = OperatorSocket(runtime, desk, guard.inbox, guard.page, realtime.leave_realtime)
    except OSError as error:
        _say(f"no operator commands: {error}; the kill button works")
        return None
    made.start()
    return made


def _status(config: GuardConfig, board: Board) -> str:
    parts = [f"reading the lines of {board.name}"]
    if config.glitch_filter_ns:
        cost = f"{config.glitch_filter_ns / 1e6:g} ms"
        parts.append(f"glitch filter {cost}: a press shuts the gate {cost} later")
    if config.operator_key:
        parts.append(f"operator key {fingerprint(config.operator_key):016x}")
    return "; ".join(parts)


def _lock_instance(runtime: Path) -> int:
    handle = os.open(runtime / "guard.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise GuardExitError(EXIT_BUSY, f"another guard runs on {runtime}. DO: interlock status") from error
    return handle


class _Core:
    """The core's page, mapped again when the file behind the path changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pages.PageFile | None = None
        self._checked_ns = 0

    def words(self, now_ns: int) -> memoryview[int] | None:
        """Looks at the path every 100 ms only; between, the mapping is used as it is."""
        if now_ns - self._checked_ns >= REMAP_NS:
            self._checked_ns = now_ns
            if self._file is not None and not self._file.still_the_file():
                self._file = None
            if self._file is None:
                try:
                    self._file = pages.PageFile(self._path, writable=False)
                except OSError:
                    return None
        return self._file.words if self._file is not None else None


def run(config: GuardConfig, state: Path, runtime: Path, stop: threading.Event) -> None:
    """Runs the guard until `stop` is set. Raises GuardExitError or BoardError before the first heartbeat."""
    lock = _lock_instance(runtime)
    pages.create_pages(runtime)  # on the first start of a boot; what exists is never touched
    try:
        page = pages.PageFile(runtime / GUARD_PAGE, writable=True)
    except OSError as error:
        raise GuardExitError(EXIT_CONFIG, f"cannot map the guard page: {error}. DO: interlock up") from error
    board = _open_board(config, runtime)
    boot = pages.boot_id()
    boot_text = f"{boot[0]:016x}{boot[1]:016x}"
    identity = (boot_text, board.serial(), card_id(state))
    keeper = LatchKeeper(state / "latch", before=realtime.leave_realtime)
    pages.start_page(page.words, GUARD_LAYOUT, boot)
    guard = Guard(
        page.words,
        None,
        keeper,
        identity,
        boot,
        tamper_reaction=config.tamper_reaction,
        glitch_filter_ns=config.glitch_filter_ns,
    )
    core = _Core(runtime / CORE_PAGE)
    guard.start(judge(read_record(state / "latch"), identity[1], identity[2]), time.monotonic_ns())
    page.words[GuardWord.BOARD] = board.kind
    page.words[GuardWord.PID] = os.getpid()
    notifier = Notifier()
    lights = Lights(board, guard, notifier)
    lights.start()
    operator = _take_commands(config, runtime, guard, identity)
    page.words[GuardWord.FLAGS] = _prepare(config.realtime_priority)
    guard.loop([], board.levels(), time.monotonic_ns())
    status = _status(config, board)
    notifier.send(f"READY=1\nSTATUS={status}")
    if ";" in status:
        _say(status)
    try:
        while not stop.is_set():
            if not lights.is_alive():
                raise GuardExitError(EXIT_BOARD, "the lights cannot be driven. DO: interlock doctor")
            edges = board.wait(guard.wait_s(LOOP_S, time.monotonic_ns()))
            levels = board.levels()
            now_ns = time.monotonic_ns()
            if not edges:
                guard.core = core.words(now_ns)
            guard.loop(edges, levels, now_ns)
            lights.follow()
    finally:
        notifier.send("STOPPING=1")
        lights.finish()
        if operator is not None:
            operator.finish()
        keeper.close()
        board.close()
        os.close(lock)


def _prepare(priority: int) -> int:
    flags = 0
    for flag, refusal in (
        (GuardFlag.REALTIME, realtime.go_realtime(priority)),
        (GuardFlag.LOCKED, realtime.lock_memory()),
    ):
        if refusal:
            _say(f"{refusal}; the kill button works, slower under load")
        else:
            flags |= flag
    realtime.quiet_interpreter()
    return flags


def show_fault(state: Path, runtime: Path) -> None:
    """Leaves the fault lights on behind a guard that ended (`ExecStopPost=`, SAFETY 11), also where it ended
    because of its configuration. Raises GuardConfigError if even the wiring is not certain, or BoardError."""
    driver, pin_factory, pins = load_wiring(state / "guard.toml")
    if driver == "simulated":
        return
    os.chdir(runtime)  # as above
    from hardware.board_gpiozero import GpiozeroBoard

    board = GpiozeroBoard(pin_factory, pins)
    green, yellow, red = (pattern is Pattern.STEADY for pattern in fault_lights())
    board.light(green, yellow, red)


def _say(sentence: str) -> None:
    sys.stderr.write(f"interlock guard: {sentence}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="interlock guard", description=__doc__.split("\n")[0])
    parser.add_argument("--state", type=Path, required=True, help="holds guard.toml and latch/")
    parser.add_argument("--runtime", type=Path, required=True, help="holds the pages")
    parser.add_argument("--fault-lights", action="store_true", help="only show that no guard runs")
    options = parser.parse_args(arguments)
    options.state, options.runtime = options.state.absolute(), options.runtime.absolute()
    stop = threading.Event()

    def finish(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    threading.stack_size(256 * 1024)
    try:
        if options.fault_lights:
            show_fault(options.state, options.runtime)
        else:
            run(load(options.state / "guard.toml"), options.state, options.runtime, stop)
    except GuardConfigError as error:
        _say(f"cannot use the configuration. {error}. DO: interlock doctor")
        return EXIT_CONFIG
    except BoardError as error:
        _say(f"cannot open the board. {error}. DO: {error.do}")
        return EXIT_BOARD
    except GuardExitError as error:
        _say(str(error))
        return error.code
    except PermissionError as error:
        _say(f"no permission. {error}. DO: run it as the user that owns the state directory")
        return EXIT_PERMISSION
    return 0


if __name__ == "__main__":
    sys.exit(main())
