"""kill -9 of core, log writer and collector at each of their steps, witness and mirror on (AUDIT, fault 1).

INTERLOCK_LOG_KILLS sets how many the long lane makes (1,000), INTERLOCK_LOG_KILL_SEED where they begin. The
seed is printed with every log. What is asserted after each kill is said in tests.log_kill_runs; here the logs
that came out of it go before a verifier that is not ours.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

import pytest

from tests.log_kill_runs import AT_RANDOM, KILLS_A_LOG, Found, Tree
from tests.log_kill_steps import STEPS
from tests.outside.judges import Verifier, build_sumdb, load_python
from tests.processes import running

KILLS = int(os.environ.get("INTERLOCK_LOG_KILLS", "1000"))
SEED = int(os.environ.get("INTERLOCK_LOG_KILL_SEED", "0")) or secrets.randbelow(10**9) + 1
ALL_STEPS = {f"{who}: {step}" for who, steps in STEPS.items() for step in (*steps, AT_RANDOM)}
ENOUGH = 400
"""Kills after which every step has had its turn several times."""


def _run(directory: Path, seed: int, kills: int, outside: Verifier) -> dict[str, int]:
    """Kills by step; the output is what is printed."""
    with running(
        ["tests.log_kill_runs", str(directory / "logs"), str(seed), str(kills)], directory / "log"
    ) as worker:
        code = worker.wait(60 + 5.0 * kills)
    output = worker.output()
    print(output)
    assert code == 0, output
    logs = sorted((directory / "logs").iterdir())
    assert len(logs) == output.count("ok seed") == -(-kills // KILLS_A_LOG)
    for place in logs:
        accepted, said = outside(place / "log", place / "keys/log.vkey", place / "older")
        assert accepted, (place, said)
    found = re.findall(r"^ +(\d+) ((?:writer|collector|box|all): .+)$", output, re.MULTILINE)
    killed = {step: int(count) for count, step in found}
    assert sum(killed.values()) >= kills
    return killed


def test_a_few_kills_at_chosen_steps(tmp_path: Path) -> None:
    """Twenty of them on one log: nothing acknowledged is lost, nothing forks, the mirror ends equal."""
    killed = _run(tmp_path, 20_260_101, KILLS_A_LOG, load_python("pymerkle"))
    assert {step.partition(":")[0] for step in killed} >= set(STEPS), killed


@pytest.mark.long
def test_a_thousand_kills_at_every_step(tmp_path: Path) -> None:
    """Likewise, each step many times."""
    killed = _run(tmp_path, SEED, KILLS, build_sumdb(tmp_path))
    if KILLS >= ENOUGH:
        assert ALL_STEPS - set(killed) == set()


def test_the_judgement_sees_what_it_is_for() -> None:
    """A second head of a size is told with who had it; the tree's roots are those of RFC 6962."""
    found = Found()
    found.head(3, b"a" * 32, "published")
    found.head(3, b"a" * 32, "witness")
    assert found.differences == []
    found.head(3, b"b" * 32, "mirror")
    assert found.differences == ["two heads of size 3, the second one mirror"]
    tree = Tree()
    for body in (b"", b"\0", b"\x10"):
        tree.add(body)
    assert [root.hex() for root in tree.roots] == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    ]
