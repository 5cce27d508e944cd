"""Is a price believable, given the prices before it? Pure integer arithmetic, no state (DAT-02, SAFETY 9).

Every observation is a few *prints*: a trade its price, a quote its bid and ask, a bar its open, high, low and
close. A print is near the mark if it differs by at most `jump_ppm` of it, the last allowed value. Prints that
are not near what was accepted before are *loose*. For a trade or quote that is all there is to it. A bar
carries a path, so two rules more:

- prints of a bar may be linked by steps: mark → open → close, each a step of at most `jump_ppm` (so may the
  loose prints of a suspect be linked to the observation after it);
- if the open is linked, loose prints that have another loose print of a *different* price one step away are
  believed, down to half and up to double the mark: the market moved inside the bar and printed there at
  least twice. Further away a decimal point may have slipped during the day; and if the open is loose as well,
  the whole row may be wrong (another instrument, a split): there a bar's own prints prove nothing.

Which of two prints came first is unknown, so a step is measured against the smaller one: the stricter way.
"""

from __future__ import annotations

from appliance.domain.money import PPM_ONE
from appliance.domain.observation import Bar, Observation, Quote


def prints_of(observation: Observation) -> tuple[int, ...]:
    """The prices the observation states."""
    if isinstance(observation, Bar):
        return observation.open, observation.high, observation.low, observation.close
    if isinstance(observation, Quote):
        return observation.bid, observation.ask
    return (observation.price,)


def mark_of(observation: Observation) -> int:
    """The one price later prints are compared with: last trade, close, or middle of the quote."""
    if isinstance(observation, Bar):
        return observation.close
    if isinstance(observation, Quote):
        return (observation.bid + observation.ask) // 2
    return observation.price


def is_near(price: int, anchor: int, jump_ppm: int) -> bool:
    """|price − anchor| ≤ jump_ppm of anchor, exactly."""
    return abs(price - anchor) * PPM_ONE <= jump_ppm * anchor


def is_step(one: int, other: int, jump_ppm: int) -> bool:
    """Near each other whichever came first: within jump_ppm of the smaller."""
    return abs(one - other) * PPM_ONE <= jump_ppm * min(one, other)


def move_ppm(price: int, anchor: int) -> int:
    """Signed move from `anchor`, rounded away from zero, for texts."""
    magnitude = -(-abs(price - anchor) * PPM_ONE // anchor)
    return -magnitude if price < anchor else magnitude


def loose_prints(observation: Observation, mark: int, jump_ppm: int) -> tuple[int, ...]:
    """The prints that nothing supports; empty if the observation is believable after `mark`."""
    prices = prints_of(observation)
    loose = tuple(price for price in prices if not is_near(price, mark, jump_ppm))
    if not loose or not isinstance(observation, Bar):
        return loose
    loose = _unlinked(loose, [price for price in prices if price not in loose], jump_ppm)
    if observation.open in loose or not all(mark <= 2 * price <= 4 * mark for price in loose):
        return loose
    return () if all(_has_company(price, loose, jump_ppm) for price in loose) else loose


def confirms(observation: Observation, loose: tuple[int, ...], jump_ppm: int) -> bool:
    """True if this observation supports every loose print of the one before, directly or by steps."""
    return not _unlinked(loose, list(prints_of(observation)), jump_ppm)


def _unlinked(loose: tuple[int, ...], anchors: list[int], jump_ppm: int) -> tuple[int, ...]:
    """What stays loose when every print near an anchor becomes an anchor, until nothing changes."""
    while loose:
        linked = [price for price in loose if any(is_step(price, anchor, jump_ppm) for anchor in anchors)]
        if not linked:
            break
        anchors = linked
        loose = tuple(price for price in loose if price not in linked)
    return loose


def _has_company(price: int, loose: tuple[int, ...], jump_ppm: int) -> bool:
    return any(other != price and is_step(price, other, jump_ppm) for other in loose)
