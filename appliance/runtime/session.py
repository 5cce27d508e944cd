"""Begins a run or takes up the interrupted one: which venue account, and what had happened by then."""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.ids import RunId
from appliance.runtime.config import Config
from appliance.runtime.paths import Paths
from appliance.runtime.restore import NOTHING, Restored, RunRecord, last_run, restore


class Session(Struct, frozen=True, kw_only=True):
    """resumed: the run was begun by an earlier process and is not finished.  sha256: see RunRecord."""

    run: RunId
    account: str
    resumed: bool
    restored: Restored
    sha256: tuple[str, ...] = ()


def feed_identity(config: Config) -> str:
    """Names what is replayed: a run is only resumed on the same files."""
    return "; ".join(
        f"{source.instrument}={source.sample or source.file}" for source in config.feed.source
    )


def begin_session(config: Config, paths: Paths, wall_ns: int) -> Session:
    """The log's unfinished run if it replayed the same feed on a venue that still knows it, else a new one.

    An in-process venue dies with its core: there is nothing to resume.
    """
    last: RunRecord | None = last_run(paths.log)
    resumable = (
        last is not None
        and not last.finished
        and last.feed == feed_identity(config)
        and config.venue.transport == "process"
    )
    if last is not None and resumable:
        return Session(
            run=last.run,
            account=last.account,
            resumed=True,
            restored=restore(paths.log, last),
            sha256=last.sha256,
        )
    run = RunId(f"{config.box.name}-{wall_ns // 1_000_000_000:x}-{wall_ns % 1_000_000_000:x}")
    return Session(run=run, account=f"run-{run}"[:40], resumed=False, restored=NOTHING)
