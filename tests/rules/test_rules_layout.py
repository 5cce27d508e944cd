"""What lies where: the top level is fixed, systemd/ holds no Python, every package is listed."""

from __future__ import annotations

import shutil
import subprocess
import tomllib

import pytest

from tests.rules.source import ROOT, modules

TOP_LEVEL = {"pyproject.toml", "appliance", "hardware", "systemd", "provisioning", "tests", "README.md"}


def _tracked() -> list[str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: nobody knows what belongs to the project")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_top_level_holds_exactly_what_people_expect() -> None:
    """Nothing else is visible at the top (USR-03)."""
    visible = {name.split("/")[0] for name in _tracked() if not name.startswith(".")}
    assert visible == TOP_LEVEL


def test_systemd_folder_holds_no_python() -> None:
    """`systemd` is the import name of systemd-python; a module here would shadow it (TOOLCHAIN 14)."""
    assert [name for name in _tracked() if name.startswith("systemd/") and name.endswith(".py")] == []


def test_every_package_is_listed_for_the_wheel() -> None:
    """Auto-discovery would take systemd/ for a package; the list must stay complete."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["appliance", "hardware"]


def test_every_package_has_its_marker() -> None:
    """A folder with modules and no __init__.py would become a namespace package."""
    for module in modules("appliance") + modules("hardware"):
        if module.path.parts[:2] != ("hardware", "stubs"):
            assert (ROOT / module.path.parent / "__init__.py").exists(), module.path


def test_nothing_names_a_registry_or_this_machine() -> None:
    """The project installs from wherever its user's pip is configured to look."""
    needles = ("pypi" + ".org", "pythonhosted" + ".org", str(ROOT.parent) + "/")
    for name in _tracked():
        path = ROOT / name
        if path.suffix in {".gz", ".png"} or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        assert [needle for needle in needles if needle in text] == [], name
