"""Makes the pictures of the README: `python -m tests.pictures [legend|page]` (all without arguments).

`legend` draws the lights from the guard's own table. `page` starts the real demo, presses its button and
takes the screenshots; it needs Chromium. Pictures stay below 150 kB (CONVENTIONS).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from appliance.runtime.board_socket import command_board
from appliance.runtime.supervise import fetch_status
from tests.pictures.browser import Browser
from tests.pictures.legend import draw_legend
from tests.processes import running, until

HERE = Path(__file__).parent
MAX_BYTES = 150_000


def legend() -> None:
    """The lights, from the literal table."""
    (HERE / "lights.svg").write_text(draw_legend(), "utf-8")


def page() -> None:
    """The page of the real demo: NORMAL on a desktop, EMERGENCY on a phone."""
    from tests.box import Box

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        box = Box(root, {'speed = "60 d/s"': 'speed = "120 d/s"'})
        with running(box.up(), root / "up.log"):
            until(lambda: box.mode() == "NORMAL" and box.done() > 4_000, "the middle of the replay", 120)
            until(box.held, "a position", 120)
            asyncio.run(_shoot(box.port, HERE / "page-normal.png", 1180, 760, dark=True))
            command_board(box.runtime, "press")
            until(lambda: box.lamps()[2:] == ["slow"] and not box.held(), "flat", 20)
            asyncio.run(_shoot(box.port, HERE / "page-emergency.png", 390, 780, dark=False))
            assert fetch_status("127.0.0.1", box.port) is not None


async def _shoot(port: int, path: Path, width: int, height: int, *, dark: bool) -> None:
    async with Browser.start() as browser:
        view = await browser.page(width=width, height=height, dark=dark)
        await view.goto(f"http://127.0.0.1:{port}/")
        await view.until("document.documentElement.dataset.connection !== 'lost'")
        picture = await view.screenshot(path)
    assert len(picture) <= MAX_BYTES, f"{path.name}: {len(picture)} bytes"


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["legend", "page"]
    for each in wanted:
        {"legend": legend, "page": page}[each]()
