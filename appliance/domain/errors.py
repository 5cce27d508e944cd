"""What can go wrong, as five kinds; the kind says who acts (ARCHITECTURE, Errors; PROD_004).

    InterlockError
    ├── PeerError        somebody sent something wrong: refuse that message, keep running
    ├── TransportError   could not talk: the edge that owns the connection decides about a retry
    ├── StoreError       durability is unknown: no new exposure, cancel, exit 74
    │   └── NoSpaceError     the disk was full and nothing was written: the log has a reserve for that
    ├── ConfigError      exit 78, and systemd does not restart
    └── InvariantError   a bug: trip and exit 70

A refusal by the gate is a value (`Denied`), never an exception.
"""

from __future__ import annotations

from appliance.domain.exit_codes import ExitCode


class InterlockError(Exception):
    """Carries the three parts of a message a person can act on.

    what: one sentence, what did not work.
    why:  the cause, ending with a place in parentheses where there is one.
    do:   the command or act that mends it; the kind's own advice if none is given.
    """

    exit_code: ExitCode = ExitCode.INVARIANT
    default_do = "run it again with --debug and report what it prints"

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what = what
        self.why = why
        self.do = do or self.default_do
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """`WHAT. WHY. DO: command`, without the parts that are empty."""
        parts = [self.what.rstrip(".") + "."]
        if self.why:
            parts.append(self.why.rstrip(".") + ".")
        if self.do:
            parts.append(f"DO: {self.do}")
        return " ".join(parts)


class PeerError(InterlockError):
    """A message, file or record from outside is wrong. Nothing of it is used."""

    exit_code = ExitCode.UNAVAILABLE
    default_do = "check what was given, then try again"


class RefusedError(PeerError):
    """A venue answered a request with an error. status: of HTTP; code: the venue's own, "" if none.

    Whether the request had an effect is `orders.replies`' table to say, not the connector's.
    """

    def __init__(self, what: str, why: str = "", *, status: int, code: str = "") -> None:
        super().__init__(what, why)
        self.status = status
        self.code = code


class TransportError(InterlockError):
    """No conversation took place, or its outcome is unknown."""

    exit_code = ExitCode.UNAVAILABLE
    default_do = "see that the other side runs: interlock status"


class StoreError(InterlockError):
    """A durable write failed or its fate is unknown; the store may not be used again in this process."""

    exit_code = ExitCode.STORE
    default_do = "interlock doctor"


class NoSpaceError(StoreError):
    """The disk refused a write for want of space. Unlike after any other StoreError its fate is known:
    nothing of it is there, and the same write may be tried once room was made (SAFETY 8)."""

    default_do = "free or replace the disk"


class ConfigError(InterlockError):
    """Configuration or trust material is missing, unknown or out of range."""

    exit_code = ExitCode.CONFIG
    default_do = "compare the file with interlock config --example"


class InvariantError(InterlockError):
    """Something that cannot happen did. The process trips and ends."""

    exit_code = ExitCode.INVARIANT


class UsageError(InterlockError):
    """The command line cannot be understood."""

    exit_code = ExitCode.USAGE
    default_do = "interlock --help"


class PeerMissingError(InterlockError):
    """A process this command needs is not running (guard, venue, collector)."""

    exit_code = ExitCode.UNAVAILABLE
    default_do = "interlock up"


class CannotCreateError(InterlockError):
    """A file or directory cannot be created, or would overwrite something."""

    exit_code = ExitCode.CANNOT_CREATE
    default_do = "choose another place, or free this one"


class BusyError(InterlockError):
    """A port is taken, or the same process already runs on this state directory."""

    exit_code = ExitCode.BUSY
    default_do = "interlock status"


class NoPermissionError(InterlockError):
    """The operating system refuses access."""

    exit_code = ExitCode.NO_PERMISSION
    default_do = "run it as the user who owns the state directory"
