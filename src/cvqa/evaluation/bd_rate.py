"""Bjøntegaard's difference of two rate-quality curves."""

import numpy as np
from scipy.interpolate import PchipInterpolator


def bd_rate(anchor_rates, anchor_qualities, rates, qualities) -> float:
    """Mean difference in bit rate at equal quality, in percent: -20 means a fifth less than the anchor.

    Log rate is interpolated over quality by monotone cubics (PCHIP) and averaged over the qualities that both curves
    reach. Points of equal quality count as one, at the mean of their log rates.

    Args:
        anchor_rates, rates: (n,) bit rates above 0, in any unit.
        anchor_qualities, qualities: (n,) on any one scale, higher is better.

    Raises:
        ValueError: fewer than two different qualities, a rate that is not above 0, or curves without a common range.

    Source: G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; with PCHIP as
    in JCTVC-L1100, appendix.
    """
    curves = [_curve(*points) for points in ((anchor_rates, anchor_qualities), (rates, qualities))]
    low, high = max(quality[0] for quality, _ in curves), min(quality[-1] for quality, _ in curves)
    if low >= high:
        raise ValueError(f"the curves have no range of quality in common: one ends at {high:g}, one begins at {low:g}")
    anchor, other = (PchipInterpolator(*curve).integrate(low, high) / (high - low) for curve in curves)
    return float(100 * np.expm1(other - anchor))


def _curve(rates, qualities) -> tuple[np.ndarray, np.ndarray]:
    """Rising qualities (n,) and the log rate at each."""
    rates, qualities = np.asarray(rates, np.float64), np.asarray(qualities, np.float64)
    if rates.shape != qualities.shape or not (rates > 0).all() or not np.isfinite(qualities).all():
        raise ValueError("a curve has as many rates, all above 0, as finite qualities")
    rising, place = np.unique(qualities, return_inverse=True)
    if len(rising) < 2:
        raise ValueError("a curve needs two different qualities or more")
    return rising, np.bincount(place, np.log(rates)) / np.bincount(place)
