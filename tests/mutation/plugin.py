"""pytest's side: `-p tests.mutation.plugin` with INTERLOCK_MUTANT=path:number tests that mutant."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

from hypothesis import Phase, settings

from tests.mutation.mutants import mutated
from tests.processes import ROOT


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the module with its one change; nothing is cached."""

    def __init__(self, fullname: str, path: str, number: int) -> None:
        super().__init__(fullname, path)
        self._number = number

    def get_code(self, fullname: str) -> CodeType:
        """The mutant's."""
        source = Path(self.path).read_text("utf-8")
        return compile(mutated(source, self._number), self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Knows one module."""

    def __init__(self, path: Path, number: int) -> None:
        self._name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        self._loader = _Loader(self._name, str(path), number)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None for every other module."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


TEST_S = 60
"""Ten times what the slowest test takes: a mutant that goes round for ever ends here, by SIGALRM."""

MEMORY_MAX = 4 << 30
"""A mutant that grows for ever ends with a MemoryError, and not with the machine's other work."""

_chosen = os.environ.get("INTERLOCK_MUTANT", "")
if _chosen:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    _path, _, _number = _chosen.rpartition(":")
    # That a property fails is all that counts: no smaller example is looked for.
    settings.register_profile("mutant", phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutant")
    sys.meta_path.insert(0, _Finder(ROOT / _path, int(_number)))


def pytest_runtest_setup() -> None:
    """The test's time begins."""
    signal.alarm(TEST_S if _chosen else 0)


def pytest_runtest_teardown() -> None:
    """It was in time."""
    signal.alarm(0)
