"""Where things are (CONVENTIONS): state and run-time directories, and every file in them by name."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from appliance.domain.errors import CannotCreateError, ConfigError, NoPermissionError

SOCKET_PATH_MAX = 107


class Paths(Struct, frozen=True):
    """One appliance's directories. Nothing else in the project builds a path inside them."""

    state: Path
    runtime: Path

    @property
    def config(self) -> Path:
        """The core's configuration, unless --config names another."""
        return self.state / "interlock.toml"

    @property
    def guard_config(self) -> Path:
        """The guard's."""
        return self.state / "guard.toml"

    @property
    def latch(self) -> Path:
        """The guard's armed record lies in here."""
        return self.state / "latch"

    @property
    def keys(self) -> Path:
        """Private keys, mode 0700."""
        return self.state / "keys"

    @property
    def trust(self) -> Path:
        """Public keys this box believes."""
        return self.state / "trust"

    @property
    def log(self) -> Path:
        """The audit log: database and published tiles."""
        return self.state / "log"

    @property
    def key_uses(self) -> Path:
        """What was signed outside the core and is not in the log yet."""
        return self.state / "key-uses"

    @property
    def memory(self) -> Path:
        """Long-term memory."""
        return self.state / "memory" / "memory.db"

    @property
    def venue_note(self) -> Path:
        """Which venue account the core works on: what the cancel-only process has to know."""
        return self.runtime / "venue.json"

    @property
    def disk_note(self) -> Path:
        """What the core last measured of the disk, for `interlock status`."""
        return self.runtime / "disk.json"

    @property
    def exits_ring(self) -> Path:
        """What the core sent before the log had it."""
        return self.runtime / "exits.ring"

    @property
    def cancels_ring(self) -> Path:
        """What the cancel-only process did."""
        return self.runtime / "cancels.ring"

    @property
    def venue_journal(self) -> Path:
        """Order log of the paper venue."""
        return self.state / "venue" / "orders.jsonl"

    @property
    def alerts(self) -> Path:
        """What the alerter remembers for its next life."""
        return self.state / "alerts" / "alerts.json"

    @property
    def alert_board(self) -> Path:
        """What the alerter shows to the core and to `interlock status`; its lock lies beside it."""
        return self.runtime / "alerts" / "board.json"

    @property
    def collector(self) -> Path:
        """Store of the collector, where it is hosted here."""
        return self.state / "collector"


def find_paths(state: Path | None, runtime: Path | None = None) -> Paths:
    """$STATE_DIRECTORY, else `state`, else ~/.local/state/interlock; run-time directory likewise.

    systemd's variables come first so that a unit cannot be pointed elsewhere by accident.
    """
    from_systemd = os.environ.get("STATE_DIRECTORY", "")
    chosen = Path(from_systemd) if from_systemd else state or Path.home() / ".local" / "state" / "interlock"
    return Paths(chosen.absolute(), (runtime or _runtime(chosen, explicit=state is not None)).absolute())


def _runtime(state: Path, *, explicit: bool) -> Path:
    if directory := os.environ.get("RUNTIME_DIRECTORY", ""):
        return Path(directory)
    suffix = f"-{abs_name(state)}" if explicit else ""
    if directory := os.environ.get("XDG_RUNTIME_DIR", ""):
        return Path(directory) / f"interlock{suffix}"
    return Path(f"/dev/shm/interlock-{os.getuid()}{suffix}")  # noqa: S108 - private, mode 0700 is checked


def abs_name(state: Path) -> str:
    """A short name for a state directory, so that two appliances on one machine do not share a page."""
    import hashlib

    return hashlib.blake2b(str(state.absolute()).encode(), digest_size=4).hexdigest()


def ensure_runtime(paths: Paths) -> None:
    """Makes the run-time directory, mode 0700, owned by us; refuses one that is not."""
    directory = paths.runtime
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise CannotCreateError(
            "the run-time directory cannot be made", f"{error.strerror} ({directory})", "use --runtime DIR"
        ) from error
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise NoPermissionError(
            "the run-time directory is not private to this user", str(directory), f"rm -r {directory}"
        )
    if len(str(directory / "b4194304-999.sock")) > SOCKET_PATH_MAX:
        raise ConfigError("the run-time directory's path is too long", str(directory), "use --runtime DIR")


def need_log(paths: Paths) -> None:
    """Raises ConfigError if `interlock init` has not run here; enough for who only reads."""
    if not paths.state.is_dir() or not paths.log.is_dir():
        raise ConfigError("there is no appliance here", str(paths.state), "interlock init")


def need_state(paths: Paths) -> None:
    """As `need_log`; NoPermissionError if we may not write."""
    need_log(paths)
    if not os.access(paths.state, os.W_OK | os.X_OK):
        raise NoPermissionError(
            "the state directory cannot be written", str(paths.state), "run it as the user who owns it"
        )
