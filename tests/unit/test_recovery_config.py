"""The table [recovery], and what the operator's key signs: nothing that loosens unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.audit.notes import SigningKey
from appliance.domain.errors import ConfigError
from appliance.runtime.cli import main
from appliance.runtime.config_load import EXAMPLE, load_config
from appliance.safety.recovery_plan import DEFAULT_EVERY_NS, DEFAULT_PLAN, PLANS

TABLE = EXAMPLE.read_text("utf-8").partition("[recovery]")
REST = TABLE[2].partition("\n[")  # the next table


def _config(folder: Path, table: str) -> Path:
    path = folder / "interlock.toml"
    path.write_text(TABLE[0] + table + REST[1] + REST[2], "utf-8")
    return path


def test_without_the_table_the_stricter_plan_holds(tmp_path: Path) -> None:
    """The only table that may be absent: a box with an older file starts, and starts strict."""
    table = load_config(_config(tmp_path, "")).recovery
    assert (table.plan, int(table.step_every)) == (DEFAULT_PLAN, DEFAULT_EVERY_NS)
    assert PLANS[DEFAULT_PLAN] == max(PLANS.values(), key=len)


@pytest.mark.parametrize("plan", sorted(PLANS))
@pytest.mark.parametrize("every", ["1 min", "365 d"])
def test_both_plans_load(tmp_path: Path, plan: str, every: str) -> None:
    """With the shortest and the longest share."""
    text = f'[recovery]\nplan = "{plan}"\nstep_every = "{every}"\n'
    assert load_config(_config(tmp_path, text)).recovery.plan == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('plan = "standard"', "lacks recovery.step_every"),
        ('step_every = "1 d"', "lacks recovery.plan"),
        ('plan = "none"\nstep_every = "1 d"', "recovery.plan"),
        ('plan = "standard"\nstep_every = "59 s"', "step_every is outside"),
        ('plan = "standard"\nstep_every = "8760.1 h"', "step_every is outside"),
        ('plan = "standard"\nstep_every = "1 d"\nshare = "50 %"', "recovery.share"),
    ],
)
def test_a_present_table_is_whole_or_refused(tmp_path: Path, text: str, says: str) -> None:
    """No key of it has a default, and no share can be configured."""
    with pytest.raises(ConfigError) as caught:
        load_config(_config(tmp_path, f"[recovery]\n{text}\n"))
    assert says in caught.value.sentence()


def _line(purpose: str) -> str:
    return (
        f"interlock-operator/1 purpose={purpose} card=cid-1 boot={'0' * 32} generation=1 epoch=7"
        f" nonce={'0' * 64}"
    )


@pytest.mark.safety("S6.8")
@pytest.mark.parametrize(
    ("flags", "purpose", "signs"),
    [
        ([], "arm-step", True),
        ([], "reset-peak", False),
        (["--reset-peak"], "reset-peak", True),
        (["--reset-peak"], "arm-step", False),
        (["--reset-peak"], "disarm", False),
    ],
)
def test_the_key_signs_what_its_holder_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], purpose: str, signs: bool
) -> None:
    """A challenge to reset the peak that is slipped in as one to arm is refused, and says what it is."""
    key = tmp_path / "operator.key"
    key.write_text(SigningKey("interlock-operator", bytes(range(32))).private_text() + "\n")
    key.chmod(0o600)
    code = main(["operator", "sign", "--key", str(key), *flags, _line(purpose)])
    said = capsys.readouterr()
    assert (code, bool(said.out)) == ((0, True) if signs else (2, False))
    if purpose == "reset-peak":
        assert ("A RESET OF THE ACCOUNT'S PEAK" in said.err) is signs
        assert ("which loosens" in said.err) is True
