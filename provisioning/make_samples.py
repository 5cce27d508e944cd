"""Makes the sample prices of `appliance/market/samples` from the wheel of the `arch` package (TOOLCHAIN 3).

    python provisioning/make_samples.py --wheel arch-8.0.0-….whl     write the folder
    python provisioning/make_samples.py --wheel … --check            compare it, write nothing
    python provisioning/make_samples.py                              fetch the wheel with pip first

Only the wheel is read; `arch` is never installed (410 MB with its dependencies). The three members must have
the digests below, and the text made from them is the same on every machine. The packed bytes may differ with
another zlib, so `--check` compares what is inside.

Exit codes: 0 written, or the folder is what the wheel gives; 1 it is not; 2 usage; 69 no usable wheel.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

ARCH = "arch==8.0.0"
FOLDER = Path(__file__).parents[1] / "appliance" / "market" / "samples"
YEARS = range(1999, 2019)
CENT = Decimal("0.01")
NOISE = Decimal("0.001")
LICENCE_MEMBER = "arch-8.0.0.dist-info/licenses/LICENSE.md"


class Origin(NamedTuple):
    """One file inside the wheel and the sample made of it. columns: as `market.ohlcv` reads them."""

    name: str
    title: str
    member: str
    sha256: str
    columns: str


ORIGINS = (
    Origin(
        "spx",
        "S&P 500 index, daily",
        "arch/data/sp500/sp500.csv.gz",
        "1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de",
        "time,open,high,low,close",
    ),
    Origin(
        "ndx",
        "NASDAQ Composite index (not the NASDAQ-100), daily",
        "arch/data/nasdaq/nasdaq.csv.gz",
        "b2009535343ebb14e0aa11ed086788d2997a416ffe4f9450eed9a561ae30ac59",
        "time,open,high,low,close",
    ),
    Origin(
        "wti",
        "WTI crude oil, Cushing, one spot price a day",
        "arch/data/wti/wti.csv.gz",
        "b83498894138a65cdc14a67fc1716aa90b3cfda274f976bd3692cc3f1500084d",
        "time,price",
    ),
)

NOTICE = """\
Sample prices shipped with Interlock
====================================

spx.csv.gz   S&P 500 index, daily open, high, low, close
ndx.csv.gz   NASDAQ Composite index, daily open, high, low, close
             (the short name is ours; it is not the NASDAQ-100)
wti.csv.gz   West Texas Intermediate crude oil, Cushing, one spot price a day

Origin: the data sets of the Python package `arch` 8.0.0 by Kevin Sheppard (University of
Illinois/NCSA licence; its text is in LICENSE-arch.md). The package took the index prices from
Yahoo! Finance and the oil price (series DCOILWTICO, U.S. Energy Information Administration) from
FRED, Federal Reserve Bank of St. Louis. The names of the indices are marks of their owners, who
have nothing to do with this project.

What was done: years 1999 to 2018; dates written as YYYY-MM-DD; prices rounded to two decimals,
which removes binary float noise below 0.001 (1229.22998 became 1229.23) and nothing else; adjusted
close and volume left out; days without a price (".") left out of the oil file. Made by
provisioning/make_samples.py.

What they are not:
- An index cannot be traded. A fill of the paper venue at one of these prices is arithmetic, not an
  execution.
- In the S&P 500 file the open is the close of the day before on 94 to 98 % of the days of 1999 to
  2005: overnight gaps of those years are missing.
- For oil there is one price a day: no open, no range, no path inside the day. It is read as a bar
  with one print. A stop that was touched between two prints is not seen, so stop-outs are
  under-counted. The figure was published days after its date, later than the replay assumes
  (00:00 UTC of the next day).
- Past prices say nothing about future ones.
"""


class WheelError(Exception):
    """The wheel cannot be had or is not the one these samples are made from."""


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks the folder; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the sample prices from the wheel of the arch package.")
    parser.add_argument("--wheel", type=Path, help="the wheel; without it pip fetches it")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the samples lie")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            files = make_files(options.wheel or fetch_wheel(Path(scratch)))
    except WheelError as error:
        print(f"make_samples: {error}", file=sys.stderr)
        return 69
    if options.check:
        wrong = [name for name, content in files.items() if not _same(options.folder / name, content)]
        print("\n".join(f"differs: {name}" for name in wrong) or "the samples are what the wheel gives")
        return 1 if wrong else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.folder / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
    return 0


def fetch_wheel(folder: Path) -> Path:
    """Has pip download the one wheel, from wherever pip is configured to look."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), ARCH], check=False)  # noqa: S603 - fixed words
    wheels = sorted(folder.glob("arch-*.whl"))
    if done.returncode or not wheels:
        raise WheelError(f"pip could not download {ARCH}. DO: get its wheel elsewhere and pass --wheel")
    return wheels[0]


def make_files(wheel: Path) -> dict[str, bytes]:
    """Name and content of every file of the folder. Raises WheelError if the wheel is not the pinned one."""
    files: dict[str, bytes] = {}
    manifest = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for origin in ORIGINS:
                rows = list(rows_of(origin, archive.read(origin.member)))
                content = ("\n".join([origin.columns, *rows]) + "\n").encode()
                packed = pack(content)
                files[f"{origin.name}.csv.gz"] = packed
                manifest.append(_entry(origin, rows, content, packed))
            files["LICENSE-arch.md"] = archive.read(LICENCE_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise WheelError(f"{wheel} is not a wheel of {ARCH}: {error}") from error
    files["NOTICE"] = NOTICE.encode()
    files["MANIFEST.json"] = (json.dumps(manifest, indent=2) + "\n").encode()
    return files


def rows_of(origin: Origin, packed: bytes) -> Iterator[str]:
    """The rows of one sample as text. `Date,Open,High,Low,Close,…` with M/D/YYYY, or `Date,price`."""
    if hashlib.sha256(packed).hexdigest() != origin.sha256:
        raise WheelError(f"{origin.member} is not the pinned file; its digest differs")
    columns = len(origin.columns.split(","))
    for line in gzip.decompress(packed).decode("ascii").splitlines()[1:]:
        fields = line.split(",")[:columns]
        month, day, year = (int(part) for part in fields[0].split("/"))
        if year in YEARS and fields[1] != ".":
            yield ",".join([f"{year}-{month:02}-{day:02}", *(cents(field) for field in fields[1:])])


def cents(text: str) -> str:
    """`"1229.22998"` → `"1229.23"`; refuses a price that is more than float noise away from two decimals."""
    exact = Decimal(text)
    rounded = exact.quantize(CENT)
    if abs(exact - rounded) >= NOISE:
        raise WheelError(f"{text} has more than two decimals and no float noise")
    return str(rounded)


def pack(content: bytes) -> bytes:
    """Gzip without name and time, so that the same zlib gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, mtime=0, fileobj=buffer) as file:
        file.write(content)
    return buffer.getvalue()


def _entry(origin: Origin, rows: list[str], content: bytes, packed: bytes) -> dict[str, object]:
    return {
        "name": origin.name,
        "title": origin.title,
        "file": f"{origin.name}.csv.gz",
        "rows": len(rows),
        "first": rows[0][:10],
        "last": rows[-1][:10],
        "price_exp": 2,
        "one_print": origin.columns == "time,price",
        "sha256": hashlib.sha256(packed).hexdigest(),
        "content_sha256": hashlib.sha256(content).hexdigest(),
    }


def _same(path: Path, expected: bytes) -> bool:
    """Equal, apart from how it is packed: the manifest's `sha256` of a packed file is not compared either."""
    if not path.is_file():
        return False
    found = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(found) == gzip.decompress(expected)
    if path.name == "MANIFEST.json":
        return _unpacked(found) == _unpacked(expected)
    return found == expected


def _unpacked(manifest: bytes) -> list[dict[str, object]]:
    entries = json.loads(manifest)
    return [{key: value for key, value in entry.items() if key != "sha256"} for entry in entries]


if __name__ == "__main__":
    sys.exit(main())
