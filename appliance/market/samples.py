"""The sample prices that ship with the box, so that a replay works without a network (TOOLCHAIN 3).

Daily S&P 500 and NASDAQ Composite (`ndx` is the short name here; it is not the NASDAQ-100) and one WTI crude
oil price a day, 1999 to 2018: 15,082 rows of real prices with two decimals. `samples/NOTICE` says where
they come from and what was done to them; `provisioning/make_samples.py` makes them again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from appliance.domain.errors import PeerError
from appliance.domain.instrument import Instrument
from appliance.market.ohlcv import OhlcvFile
from appliance.market.times import DAY_NS

FOLDER = Path(__file__).with_name("samples")


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `samples/MANIFEST.json`.

    rows: bars in the file.  first, last: dates.  price_exp: decimals of its prices.  one_print: one price a
    day, no path.  sha256: of the file.  content_sha256: of the unpacked text, the same on every machine.
    """

    name: str
    title: str
    file: str
    rows: int
    first: str
    last: str
    price_exp: int
    one_print: bool
    sha256: str
    content_sha256: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return FOLDER / self.file


def list_samples(folder: Path = FOLDER) -> tuple[Sample, ...]:
    """Every sample, in the manifest's order. Raises PeerError if the manifest is missing or wrong."""
    manifest = folder / "MANIFEST.json"
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=tuple[Sample, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise PeerError(
            "the sample prices cannot be listed", f"{error} ({manifest})", "install the package again"
        ) from error


def open_sample(name: str, instrument: Instrument) -> OhlcvFile:
    """The sample `name` as daily bars of `instrument`.

    Raises PeerError if there is no such sample, or if the instrument has too few decimals for its prices.
    """
    found = {sample.name: sample for sample in list_samples()}
    sample = found.get(name)
    if sample is None:
        raise PeerError(f"there is no sample {name!r}", f"there are: {', '.join(sorted(found))}")
    if instrument.price_exp < sample.price_exp:
        raise PeerError(
            f"{instrument.symbol} cannot hold the prices of sample {name!r}",
            f"they have {sample.price_exp} decimals, the instrument {instrument.price_exp}",
            f"configure {instrument.symbol} with {sample.price_exp} price decimals",
        )
    return OhlcvFile(sample.path, instrument, DAY_NS)
