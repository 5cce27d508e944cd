"""Version, commit and Python, for `--version` and the page."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from appliance import __version__

_ROOT = Path(__file__).parents[2]


def commit() -> str:
    """Short commit of the checkout this runs from, `+` behind it with local changes; "" without one."""
    try:
        found = subprocess.run(  # noqa: S603 - constant arguments
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 and (_ROOT / ".git").exists() else ""


def version_line() -> str:
    """What `interlock --version` prints."""
    where = commit()
    return f"interlock {__version__}{f' ({where})' if where else ''}, Python {platform.python_version()}"
