"""Hypothesis draws on the constants of whichever modules of the project are loaded. All are, from the start:
a property is tried with the same examples whatever ran before it, alone or beside others, here or in CI."""

from __future__ import annotations

import importlib
import pkgutil

import appliance
import hardware

for _package in (appliance, hardware):
    for _found in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        if not _found.name.endswith("__main__"):
            importlib.import_module(_found.name)
