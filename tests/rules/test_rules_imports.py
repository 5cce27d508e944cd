"""The import rule of ARCHITECTURE.md: guard and core apart, one direction of flow, purity of R0 and R1."""

from __future__ import annotations

import sys

import pytest

from tests.rules.source import ROOT, imports, modules, product

IMPURE = {
    "asyncio", "aiohttp", "sqlite3", "apsw", "socket", "os", "time", "random", "secrets", "logging",
    "threading", "multiprocessing", "subprocess", "select", "signal", "selectors", "concurrent", "uuid",
    "pathlib", "shutil", "tempfile", "urllib", "http", "requests", "datetime.datetime.now",
}  # fmt: skip
ALLOWED_BETWEEN_STAGES = {("risk", "safety")}  # the gate reads the latch


def _project(name: str) -> list[str]:
    return name.split(".") if name.startswith(("appliance.", "hardware.", "provisioning.")) else []


def test_pure_layers_import_nothing_that_reads_a_clock_a_socket_or_a_file() -> None:
    """R0 and R1 get time, ids, randomness and IO as arguments."""
    for module in modules("appliance"):
        if module.layer not in {"R0", "R1"}:
            continue
        for name, line in imports(module):
            bad = [word for word in IMPURE if name == word or name.startswith(word + ".")]
            assert not bad, f"{module.path}:{line} imports {name}"


def test_pure_stages_do_not_import_each_other() -> None:
    """They meet in `domain` values; only `risk` may read `safety`, and `pipeline` may read them all."""
    for module in modules("appliance"):
        if module.layer != "R1" or module.part == "pipeline":
            continue
        for name, line in imports(module):
            target = _project(name)[1:2]
            if not target or target[0] in {"domain", "ports", "__version__", module.part}:
                continue
            assert (module.part, target[0]) in ALLOWED_BETWEEN_STAGES, f"{module.path}:{line} imports {name}"


def test_flow_has_one_direction() -> None:
    """R0 imports only R0; R1 never an edge; edges never a decision stage; nobody imports the runtime."""
    forbidden = {
        "R0": {"R1", "R2", "R3"},
        "R1": {"R2", "R3"},
        "R2": {"R3"},
    }
    layer_of = {module.name: module.layer for module in modules("appliance")}
    deciding = {"risk", "safety", "orders", "portfolio", "pipeline"}
    for module in modules("appliance"):
        for name, line in imports(module):
            target = name if name in layer_of else name.rpartition(".")[0]
            layer = layer_of.get(target)
            if layer is None:
                continue
            where = f"{module.path}:{line} imports {name}"
            assert layer not in forbidden.get(module.layer, set()), where
            if module.layer == "R2":
                assert target.split(".")[1] not in deciding, where


@pytest.mark.safety("S3.18", "HW-19")
def test_guard_and_core_share_only_the_pages() -> None:
    """`hardware` imports nothing of `appliance`; one module of the core imports `hardware.pages`."""
    for module in modules("hardware"):
        for name, line in imports(module):
            assert not name.startswith("appliance"), f"{module.path}:{line} imports {name}"
    users = {
        (str(module.path), ".".join(name.split(".")[:2]))
        for module in modules("appliance")
        for name, _ in imports(module)
        if name.startswith("hardware")
    }
    assert users <= {("appliance/runtime/guard_link.py", "hardware.pages")}


@pytest.mark.safety("S3.18")
def test_the_guard_depends_on_the_standard_library_and_its_named_driver_only() -> None:
    """What stops the core must not share its dependencies; gpiozero is imported by its driver alone."""
    for module in modules("hardware"):
        for name, line in imports(module):
            root = name.split(".")[0]
            if root != "hardware" and root not in sys.stdlib_module_names:
                where = f"{module.path}:{line} imports {name}"
                assert (root, module.path.name) == ("gpiozero", "board_gpiozero.py"), where


def test_nobody_imports_provisioning() -> None:
    """It runs before and beside the appliance, never inside."""
    for module in modules("appliance") + modules("hardware"):
        for name, line in imports(module):
            assert not name.startswith("provisioning"), f"{module.path}:{line}"


def test_no_two_packages_import_each_other() -> None:
    """A two-way import means that the wall between them is in the wrong place."""
    edges: set[tuple[str, str]] = set()
    for module in modules("appliance"):
        for name, _ in imports(module):
            target = _project(name)[1:2]
            if target and target[0] != module.part and (ROOT / "appliance" / target[0]).is_dir():
                edges.add((module.part, target[0]))
    assert sorted(edge for edge in edges if edge[::-1] in edges) == []


def test_no_relative_imports() -> None:
    """A file's imports read the same wherever it is moved."""
    for module in product():
        assert "\nfrom ." not in module.text, module.path
