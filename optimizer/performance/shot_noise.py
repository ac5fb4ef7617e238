"""Variance over mean of a shot noise driven by an arrival log, with the slow trend removed, and its standard error.

The level M(t) = sum over arrivals i of g(t - t_i), g a kernel from age 0 on, is formed on a grid of bins. Poisson arrivals have
Var M / E M = int g^2 / int g = omega, so `1 - omega + Var M / E M` is 1 for them whatever g is.

The trend (what a load profile describes) is a straight line in each stretch of the log; it is removed, and the variance that such a line
takes from a log without trend is given back. Standard errors are those of a ratio of batch means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Array = np.ndarray

BINS_PER_SERVICE = 20
TREND_PARAMETERS = 2  # a level and a slope
BATCHES = 32
FEWEST_BATCHES = 8
SHORTEST_BATCH = 4.0  # windows
MOST_BINS = 1 << 22  # of a stretch: memory; a stretch is shorter than asked where it would have more
MOST_BINS_IN_ALL = 1 << 27  # time: of a longer log every k-th stretch is measured
UNSEEN = 0.01  # share of the busy servers that were there before the log began, when measuring starts


class Estimate(NamedTuple):
    """A measured number and its standard error, both without unit."""

    value: float
    standard_error: float


class Kernel(NamedTuple):
    """g as its means over bins of `bin_s`, from age 0 on."""

    bins: Array
    bin_s: float
    warm_s: float  # how long after the first arrival M is as if the log had no beginning

    @property
    def area_s(self) -> float:
        return float(self.bins.sum() * self.bin_s)

    @property
    def is_flat(self) -> bool:
        return bool((self.bins == 1).all())

    @property
    def omega(self) -> float:
        """int g^2 / int g of the binned kernel, so that binned Poisson arrivals give exactly 1."""
        return float((self.bins @ self.bins) * self.bin_s / self.area_s)

    @classmethod
    def flat(cls, window_s: float) -> Kernel:
        if not (math.isfinite(window_s) and window_s > 0):
            raise ValueError(f"the window is {window_s!r} s; it must be positive")
        return cls(np.ones(BINS_PER_SERVICE), window_s / BINS_PER_SERVICE, window_s)


def survival_kernel(services: Array, bin_s: float) -> Kernel:
    """The empirical survival function: its integral up to x is the mean of min(service, x)."""
    ordered = np.sort(services)
    grid = np.arange(math.ceil(ordered[-1] / bin_s) + 1) * bin_s
    below = np.searchsorted(ordered, grid, side="right")
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    integral = (sums[below] + (len(ordered) - below) * grid) / len(ordered)
    warm = grid[np.searchsorted(integral, (1 - UNSEEN) * integral[-1])]
    return Kernel(np.diff(integral) / bin_s, bin_s, float(warm))


@dataclass(frozen=True)
class Layout:
    """Equal stretches of `bins_per_batch * batches_per_stretch` bins, from `begin_s` to the last arrival; a line is fitted in each."""

    begin_s: float
    bin_s: float
    stretches: int
    batches_per_stretch: int
    bins_per_batch: int

    @classmethod
    def of(cls, arrivals: Array, bin_s: float, warm_s: float, scale_s: float, trend_window_s: float) -> Layout:
        if not trend_window_s > 0:
            raise ValueError(f"the trend window is {trend_window_s!r} s; it must be positive")
        begin = float(arrivals[0] + warm_s)
        length = float(arrivals[-1]) - begin
        most = math.floor(length / (SHORTEST_BATCH * scale_s)) if length > 0 else 0
        if most < FEWEST_BATCHES:
            raise ValueError(
                f"the log spans {arrivals[-1] - arrivals[0]:.4g} s; burstiness at a scale of {scale_s:.4g} s needs at least "
                f"{FEWEST_BATCHES * SHORTEST_BATCH * scale_s + warm_s:.4g} s"
            )
        stretches = min(max(1, round(length / trend_window_s)), max(1, most // FEWEST_BATCHES))
        stretches = max(stretches, math.ceil(length / bin_s / MOST_BINS))
        per_stretch = min(most // stretches, max(1, math.ceil(BATCHES / stretches)))
        bins = math.floor(length / (stretches * per_stretch * bin_s))
        return cls(begin, bin_s, stretches, per_stretch, bins)

    @property
    def batches(self) -> int:
        return len(self.measured) * self.batches_per_stretch

    @property
    def measured(self) -> range:
        """The stretches that are looked at: all, or every k-th of a very long log."""
        every = math.ceil(self.stretches * self.stretch_bins / MOST_BINS_IN_ALL)
        return range((self.stretches - 1) % every // 2, self.stretches, every)

    @property
    def stretch_bins(self) -> int:
        return self.batches_per_stretch * self.bins_per_batch

    @property
    def stretch_s(self) -> float:
        return self.stretch_bins * self.bin_s


def dispersion(arrivals: Array, marks: Array | None, kernel: Kernel, layout: Layout) -> Estimate:
    """1 - omega + Var M / E M with the trend removed (marks: M / mean mark, so that constant marks change nothing)."""
    unit = 1.0 if marks is None else float(marks.mean())
    squares, levels = [], []
    for stretch in layout.measured:
        level = _level(arrivals, marks, kernel, layout, stretch) / unit
        residual = _without_line(level)
        squares.append((residual**2).reshape(layout.batches_per_stretch, -1).mean(axis=1))
        levels.append(level.reshape(layout.batches_per_stretch, -1).mean(axis=1))
    square, mean = np.concatenate(squares), np.concatenate(levels)
    if not mean.sum() > 0:
        raise ValueError("no arrival falls into the part of the log that is measured")
    ratio = square.sum() / mean.sum()
    k = len(square)
    error = math.sqrt(k / (k - 1) * float(((square - ratio * mean) ** 2).sum())) / mean.sum()
    # A line in a stretch of length L takes the variance of TREND_PARAMETERS lowest frequencies: 2 area/L * I(long), with
    # I(long) = 1 + (z - 1)/omega; solved for z - 1.
    omega, lost = kernel.omega, TREND_PARAMETERS * kernel.area_s / layout.stretch_s
    excess = (ratio - omega + lost) / (1 - lost / omega)
    return Estimate(float(1 + excess), float(error / (1 - lost / omega)))


def _level(arrivals: Array, marks: Array | None, kernel: Kernel, layout: Layout, stretch: int) -> Array:
    """M at the end of every bin of one stretch: the arrivals per bin, convolved with the kernel."""
    reach = len(kernel.bins)
    begin = layout.begin_s + stretch * layout.stretch_s - (reach - 1) * layout.bin_s
    bins = layout.stretch_bins + reach - 1
    low, high = np.searchsorted(arrivals, [begin, begin + bins * layout.bin_s])
    index = np.minimum(((arrivals[low:high] - begin) / layout.bin_s).astype(np.int64), bins - 1)
    counts = np.bincount(index, None if marks is None else marks[low:high], minlength=bins).astype(float)
    if kernel.is_flat:
        sums = np.concatenate([[0.0], np.cumsum(counts)])
        return sums[reach:] - sums[:-reach]
    size = 1 << (bins - 1).bit_length()
    spectrum = np.fft.rfft(counts, size) * np.fft.rfft(kernel.bins, size)
    return np.fft.irfft(spectrum, size)[reach - 1 : bins]


def _without_line(level: Array) -> Array:
    x = np.linspace(-1.0, 1.0, len(level))
    return level - level.mean() - x * (x @ level) / (x @ x)


def squared_variation(values: Array) -> Estimate:
    """Variance over squared mean of values [n], with the standard error from batches of consecutive values, so that dependence
    between neighbours counts."""
    mean, centred = values.mean(), (values - values.mean()) ** 2
    cv2 = float(centred.mean() / mean**2)
    k = min(BATCHES, len(values))
    # linearised: d cv2 = d(var)/mean^2 - 2 cv2 d(mean)/mean
    influence = centred / mean**2 - cv2 - 2 * cv2 * (values / mean - 1)
    batches = np.array([part.mean() for part in np.array_split(influence, k)])
    return Estimate(cv2, float(batches.std(ddof=1) / math.sqrt(k)) if k > 1 else math.inf)
