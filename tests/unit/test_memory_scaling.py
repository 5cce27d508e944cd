"""Standardisation: exact sums, frozen versions, missing features."""

from __future__ import annotations

import pytest

from appliance.memory.features import MISSING
from appliance.memory.scaling import FIRST_CUT, GROWTH, RunningScale, Scaling, cut_count

ONE = Scaling(version=1, center=(1000,), sigma=(100,))


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (1000, 0),
        (1100, 256),
        (900, -256),
        (1001, 3),  # 2.56 rounded
        (999, -3),
        (1599, 1533),
        (1600, 1536),
        (1601, 1536),
        (400, -1536),
        (399, -1536),
        (2**40, 1536),
        (-(2**40), -1536),
        (MISSING, 0),
    ],
)
def test_features_become_limited_units_of_sigma(feature: int, expected: int) -> None:
    """256 units a sigma, six of them at most, nothing for what is missing."""
    assert ONE.standardise([(feature,)]).tolist() == [[expected]]


def test_a_feature_that_never_moved_does_not_count() -> None:
    """Sigma 0: neither a division by zero nor an infinite distance."""
    flat = Scaling(version=1, center=(5, 0), sigma=(0, 10))
    assert flat.standardise([(5, 10), (5000, 10)]).tolist() == [[0, 256], [0, 256]]


def test_sums_give_mean_and_spread() -> None:
    """Exact integers; the population's sigma, rounded down."""
    scale = RunningScale(2)
    for value in (100, 200, 300, 600):
        scale.add((value, -value), None)
    assert scale.cut(1) == Scaling(version=1, center=(300, -300), sigma=(187, 187))


def test_huge_values_do_not_cancel() -> None:
    """A float of Σx² would lose this spread altogether."""
    scale = RunningScale(1)
    for value in (2**40 - 100, 2**40 + 100):
        scale.add((value,), None)
    assert scale.cut(1) == Scaling(version=1, center=(2**40,), sigma=(100,))


@pytest.mark.parametrize(("spread", "sigma"), [(15, 0), (16, 16)])
def test_rounding_noise_is_no_spread(spread: int, sigma: int) -> None:
    """Below 16 ppb a feature is constant but for its own rounding."""
    scale = RunningScale(1)
    for value in (-spread, spread):
        scale.add((value,), None)
    assert scale.cut(1).sigma == (sigma,)


def test_missing_features_have_their_own_count() -> None:
    """A spread known half the time has the mean of that half; one never known counts for nothing."""
    scale = RunningScale(2)
    for value in (100, MISSING, 300, MISSING):
        scale.add((value, MISSING), None)
    assert scale.count == 4
    assert scale.cut(1) == Scaling(version=1, center=(200, 0), sigma=(100, 0))


def test_one_bad_print_counts_as_six_sigma() -> None:
    """Unlimited, a thousandfold price would hide every later move."""
    scale = RunningScale(1)
    for value in (1600, 1601, 10**12):
        scale.add((value,), ONE)
    assert scale.state() == [[3], [3], [3 * 1600], [3 * 1600**2]]
    for value in (400, 399, -(10**12)):
        scale.add((value,), ONE)
    assert scale.state() == [[6], [6], [3 * 2000], [3 * (1600**2 + 400**2)]]


def test_a_feature_without_sigma_is_not_limited() -> None:
    """Else one that starts to move later could never get a sigma."""
    flat = Scaling(version=1, center=(0,), sigma=(0,))
    scale = RunningScale(1)
    scale.add((1000,), flat)
    assert scale.sums == [1000]


def test_versions_come_at_growing_counts() -> None:
    """64, 1024, 16384: few enough to re-encode, early enough to be useful."""
    assert [cut_count(version) for version in (1, 2, 3, 4)] == [64, 1024, 16_384, 262_144]
    assert (FIRST_CUT, GROWTH) == (64, 16)


def test_the_state_survives_storage() -> None:
    """What is read back counts on as if nothing had happened."""
    scale = RunningScale(2)
    scale.add((2**62, MISSING), None)
    back = RunningScale.restored(2, scale.state())
    for one in (scale, back):
        one.add((7, 8), None)
    assert back.state() == scale.state()


@pytest.mark.parametrize("state", [[], [[1], [1], [1], [1]], [[1, 2]] * 4, [[1], [1, 2], [1, 2]]])
def test_a_state_of_another_shape_is_refused(state: list[list[int]]) -> None:
    """A damaged or foreign record must not become statistics."""
    with pytest.raises(ValueError, match="running scale"):
        RunningScale.restored(2, state)
