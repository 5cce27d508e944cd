"""The outside verifiers as fixtures; each is skipped, saying what to install, where it is not."""

from __future__ import annotations

import pytest

from tests.outside.judges import NAMES, Verifier, build_sumdb, load_npm, load_python


@pytest.fixture(scope="module")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """Built once for a file of tests."""
    return build_sumdb(tmp_path_factory.mktemp("sumdb"))


@pytest.fixture(params=[*NAMES, pytest.param("npm", marks=pytest.mark.long)])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    """Each of them, if it is here; npm's in the long lane."""
    if request.param == "npm":
        return load_npm()
    if request.param != "sumdb":
        return load_python(request.param)
    found: Verifier = request.getfixturevalue("sumdb")
    return found
