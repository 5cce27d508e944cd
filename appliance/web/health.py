"""/healthz: can this box do its work? For load balancers, uptime checks and `curl --fail`.

200 `ok`: the core answers and every part works. 200 `degraded`: it works, with less. 503 `down`: a part that
is needed does not work. A trip, a hold or PAUSED is the safety function doing its work, so it never makes the
box unhealthy; the body names them, and alerts on them belong to /metrics (`interlock_tripped`,
`interlock_holds`). No answer within a second is an answer too: the core hangs or is gone.
"""

from __future__ import annotations

from msgspec import Struct

from appliance.domain.status import Status
from appliance.web.text import clean


class Health(Struct, frozen=True):
    """The body. parts: state by name. tripped: reason of the standing trip, empty without one."""

    status: str
    mode: str
    tripped: str
    holds: int
    parts: dict[str, str]
    version: str
    now_ns: str


def health(status: Status) -> tuple[int, Health]:
    """(HTTP status, body). A state this version does not know counts as down: unknown is not healthy."""
    states = {clean(part.name): clean(part.state) for part in status.parts}
    if all(state == "ok" for state in states.values()):
        word = "ok"
    elif all(state in ("ok", "degraded") for state in states.values()):
        word = "degraded"
    else:
        word = "down"
    body = Health(
        status=word,
        mode=clean(status.mode),
        tripped=clean(status.trip.reason) if status.trip else "",
        holds=len(status.holds),
        parts=states,
        version=clean(status.version),
        now_ns=clean(status.now_ns),
    )
    return (503 if word == "down" else 200), body
