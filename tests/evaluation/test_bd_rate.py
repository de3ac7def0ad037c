"""Bjøntegaard's rate difference on curves whose answer is known."""

import numpy as np
import pytest

from cvqa.evaluation.bd_rate import bd_rate


RATES, QUALITIES = np.array([100.0, 200, 400, 800, 1600]), np.array([40.0, 60, 75, 85, 91])


def test_a_constant_saving_is_told_whatever_the_curve():
    assert bd_rate(RATES, QUALITIES, 0.8 * RATES, QUALITIES) == pytest.approx(-20)
    assert bd_rate(RATES, QUALITIES, 2 * RATES, QUALITIES) == pytest.approx(100)


def test_it_is_the_mean_over_the_common_range_of_quality():
    # Log rate is linear in quality: at 50, the only end that both curves have, the other needs 10 % more; at 90, 30 %.
    quality = np.linspace(50, 90, 5)
    more = np.interp(quality, [50, 90], np.log([1.1, 1.3]))
    expected = 100 * np.expm1(np.mean(np.log([1.1, 1.3])))
    assert bd_rate(np.exp(quality / 10), quality, np.exp(quality / 10 + more), quality) == pytest.approx(expected)


def test_the_unit_of_the_rates_and_the_order_of_the_points_do_not_matter():
    order = np.array([3, 0, 4, 1, 2])
    other = RATES**1.05 / 1.2
    once = bd_rate(RATES, QUALITIES, other, QUALITIES + 1)
    assert bd_rate(RATES[order] * 1000, QUALITIES[order], other[order] * 1000, QUALITIES[order] + 1) == pytest.approx(
        once
    )


def test_swapping_the_two_inverts_the_ratio():
    one, other = (RATES, QUALITIES), (RATES * 1.5, QUALITIES - 3)
    there, back = bd_rate(*one, *other), bd_rate(*other, *one)
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)


def test_equal_qualities_count_as_one_point():
    assert np.isfinite(bd_rate(RATES, [40, 60, 60, 85, 91], RATES, QUALITIES))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ((RATES, QUALITIES + 60), "no range of quality in common: one ends at 91, one begins at 100"),
        ((RATES[:1], QUALITIES[:1]), "two different qualities"),
        ((-RATES, QUALITIES), "all above 0"),
        ((RATES[:3], QUALITIES), "as many rates"),
    ],
)
def test_says_why_there_is_none(other, message):
    with pytest.raises(ValueError, match=message):
        bd_rate(RATES, QUALITIES, *other)
