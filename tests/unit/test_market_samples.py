"""The sample prices that ship: what is in them, and that they are what the script makes."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from appliance.domain.errors import PeerError
from appliance.market.samples import FOLDER, Sample, list_samples, open_sample
from appliance.market.source import survey
from appliance.market.times import DAY_NS, parse_time_ns
from provisioning import make_samples
from tests.market_builders import instrument, read_all, real_file

SAMPLES = list_samples()


def test_the_folder_holds_three_samples_their_licence_and_their_origin() -> None:
    """15,082 bars in less than 180 kB, and nothing that is not named."""
    assert {sample.name: sample.rows for sample in SAMPLES} == {"spx": 5_031, "ndx": 5_031, "wti": 5_020}
    files = {sample.file for sample in SAMPLES}
    assert {path.name for path in FOLDER.iterdir()} == files | {"MANIFEST.json", "NOTICE", "LICENSE-arch.md"}
    assert sum((FOLDER / file).stat().st_size for file in files) < 180_000
    notice = (FOLDER / "NOTICE").read_text()
    for owed in (
        "Kevin Sheppard",
        "NCSA",
        "Yahoo! Finance",
        "FRED",
        "one spot price a day",
        "not the NASDAQ-100",
    ):
        assert owed in notice
    assert "Kevin Sheppard" in (FOLDER / "LICENSE-arch.md").read_text()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_each_sample_is_the_file_its_manifest_names(sample: Sample) -> None:
    """Digest of the file, of its text, number of bars, first and last day."""
    packed = sample.path.read_bytes()
    assert hashlib.sha256(packed).hexdigest() == sample.sha256
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == sample.content_sha256
    assert packed[4:8] == bytes(4), "gzip must not carry the time of packing"
    source = open_sample(sample.name, instrument(sample.name.upper()))
    found = survey(source)
    assert (found.observations, found.sha256, found.not_delivered) == (sample.rows, sample.sha256, {})
    assert found.first_seen_ns == parse_time_ns(sample.first) + DAY_NS
    assert found.last_seen_ns == parse_time_ns(sample.last) + DAY_NS
    assert source.one_print == sample.one_print == (sample.name == "wti")


def test_a_known_day_is_exact() -> None:
    """1999-01-04, the first row of the wheel: 1229.22998 there, 122,923 hundredths here."""
    first = read_all(open_sample("spx", instrument()))[0]
    assert [getattr(first, name) for name in ("open", "high", "low", "close")] == [
        122923,
        124881,
        121910,
        122810,
    ]


def test_prices_keep_their_value_in_a_finer_scale() -> None:
    """An instrument with more decimals holds the same price with more zeros."""
    coarse = read_all(open_sample("wti", instrument("WTI")))
    fine = read_all(open_sample("wti", instrument("WTI", price_exp=4)))
    assert [getattr(bar, "close", 0) * 100 for bar in coarse] == [getattr(bar, "close", 0) for bar in fine]


def test_an_unknown_sample_lists_the_known_ones() -> None:
    """The message is the list."""
    with pytest.raises(PeerError, match="ndx, spx, wti"):
        open_sample("vix", instrument())


def test_a_scale_that_is_too_coarse_is_refused() -> None:
    """Before the first row, with the decimals that are needed."""
    with pytest.raises(PeerError, match="2 decimals, the instrument 1"):
        open_sample("spx", instrument(price_exp=1))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    """A broken installation says so."""
    with pytest.raises(PeerError, match=r"MANIFEST\.json"):
        list_samples(tmp_path)


def test_the_text_of_the_notice_is_the_scripts() -> None:
    """The script is the only writer of the folder."""
    assert (FOLDER / "NOTICE").read_text() == make_samples.NOTICE


@pytest.mark.parametrize(
    ("name", "recorded"), [("spx", "daily/sp500_1999_2018.csv.gz"), ("wti", "daily/wti_1986_2018.csv.gz")]
)
def test_the_samples_come_from_the_recorded_originals(name: str, recorded: str) -> None:
    """The wheel's bytes also lie beside the project: making the rows again gives the shipped text."""
    origin = next(each for each in make_samples.ORIGINS if each.name == name)
    rows = make_samples.rows_of(origin, real_file(recorded).read_bytes())
    text = gzip.decompress((FOLDER / f"{name}.csv.gz").read_bytes()).decode()
    assert text == "\n".join([origin.columns, *rows]) + "\n"


def test_another_original_is_refused(tmp_path: Path) -> None:
    """A wheel whose prices differ, or no wheel at all, makes no samples."""
    with pytest.raises(make_samples.WheelError, match="digest differs"):
        list(make_samples.rows_of(make_samples.ORIGINS[0], gzip.compress(b"Date,Open\n")))
    wheel = tmp_path / "arch.whl"
    for content in (b"", b"no zip"):
        wheel.write_bytes(content)
        assert make_samples.main(["--wheel", str(wheel), "--folder", str(tmp_path / "out")]) == 69
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("arch/data/sp500/sp500.csv.gz", b"other")
    assert make_samples.main(["--wheel", str(wheel), "--folder", str(tmp_path / "out")]) == 69
    assert not (tmp_path / "out").exists()


def test_only_float_noise_is_rounded_away() -> None:
    """1229.22998 is 1229.23 with noise; 1229.225 would be another price."""
    assert [make_samples.cents(text) for text in ("1229.22998", "1248.810059", "26", "12.4")] == [
        "1229.23",
        "1248.81",
        "26.00",
        "12.40",
    ]
    for text in ("1229.225", "1229.231", "1229.229"):
        with pytest.raises(make_samples.WheelError, match="more than two decimals"):
            make_samples.cents(text)


def test_the_whole_folder_can_be_made_again(tmp_path: Path) -> None:
    """With the wheel at hand (INTERLOCK_ARCH_WHEEL) the script gives every file; a changed one is found."""
    wheel = os.environ.get("INTERLOCK_ARCH_WHEEL")
    if not wheel:
        pytest.skip("no wheel of arch: set INTERLOCK_ARCH_WHEEL to its path")
    assert make_samples.main(["--wheel", wheel, "--check"]) == 0
    assert make_samples.main(["--wheel", wheel, "--folder", str(tmp_path)]) == 0
    assert make_samples.main(["--wheel", wheel, "--folder", str(tmp_path), "--check"]) == 0
    (tmp_path / "NOTICE").write_text("")
    assert make_samples.main(["--wheel", wheel, "--folder", str(tmp_path), "--check"]) == 1
