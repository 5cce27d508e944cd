"""What a core's end becomes: one error with its exit code, on every Python (CONVENTIONS, exit codes)."""

from __future__ import annotations

import pytest

from appliance.domain.errors import BusyError, ConfigError, InterlockError, InvariantError, StoreError
from appliance.runtime.core import _outcome, _StopError


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([_StopError()], None),
        ([_StopError(), BusyError("port", "taken")], 75),
        ([StoreError("disk", "full"), ConfigError("key", "missing")], 78),
        ([InvariantError("books", "differ"), StoreError("disk", "full")], 74),
        ([ExceptionGroup("inner", [StoreError("disk", "full")]), _StopError()], 74),
        ([ValueError("x"), ConfigError("key", "missing")], 70),
        ([_StopError(), ExceptionGroup("inner", [KeyError("x")])], 70),
    ],
)
def test_the_end_of_a_task_group(ends: list[Exception], code: int | None) -> None:
    """A stop is none, a bug wins over everything, else the code that says most."""
    error = _outcome(BaseExceptionGroup("ended", ends))
    assert (None if error is None else int(error.exit_code)) == code


def test_a_bug_keeps_its_cause() -> None:
    """For --debug."""
    cause = ValueError("x")
    error = _outcome(BaseExceptionGroup("ended", [cause]))
    assert isinstance(error, InterlockError)
    assert error.__cause__ is cause
