"""The recorded Binance spot messages of the shared test data, and a configuration that replays them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.processes import ROOT

SPOT = (
    Path(os.environ.get("INTERLOCK_SHARED", ROOT.parent / "shared"))
    / "data"
    / "crypto"
    / "binance_spot_btcusdt_20240808.raw.gz"
)
SPOT_S = 345.8
"""Length of the recording."""


def spot_config(demo: str, recording: Path, *, inside: bool) -> str:
    """The demo's configuration for one instrument fed with a recording; inside: no venue process."""
    head, _, _ = demo.partition("[instruments.SPX]")
    head = head[: head.index("[[feed.source]]")] + "\n" + head[head.index("[venue]") :]
    head = head.replace('= "10 d"', '= "10 s"')
    if inside:
        head = head.replace('transport = "process" ', 'transport = "in-process" ')
    tail = demo[demo.index("[audit]") :]
    source = (
        f'[[feed.source]]\ninstrument = "BTCUSDT"\nformat = "binance"\nfile = {json.dumps(str(recording))}\n'
    )
    return head.replace("[venue]", source + "\n[venue]", 1) + _BTC + tail


_BTC = """
[instruments.BTCUSDT]
currency = "USD"
price_decimals = 2
qty_decimals = 5
tick = "0.01"
lot = "0.00001"
min_qty = "0.00001"
max_qty = "9000"
min_value = "5 USD"

[instruments.BTCUSDT.limits]
max_order_qty = "10"
max_order_value = "25000 USD"
max_position = "10"
collar = "2 %"
max_stop = "5 %"
max_price_age = "5 s"
max_spread = "1 %"
max_deviation = "2 %"

[instruments.BTCUSDT.quality]
jump = "1 %"
stale = "5 s"
max_delay = "10 s"
max_ahead = "10 s"

[strategies.trend-btc]
kind = "trend"
instrument = "BTCUSDT"
allocation = "9500 USD"
deploy = "50 %"
drawdown = "15 %"
messages = 10
entries = 1000
entries_window = "1 d"
default_stop = "1 %"
bars = "1 s"
params = { fast = 10, slow = 30, stop = "1 %" }

[strategies.revert-btc]
kind = "reversion"
instrument = "BTCUSDT"
allocation = "9500 USD"
deploy = "50 %"
drawdown = "15 %"
messages = 10
entries = 1000
entries_window = "1 d"
default_stop = "1 %"
bars = "1 s"
params = { window = 30, entry_z_milli = 2000, max_bars = 20, stop = "1 %" }

"""
