"""Stars made of one light curve: even measurements are the curve, odd ones give spectrum and metadata.

The spectrum is the periodogram of the odd measurements.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diptych.core import Samples, UnreadableItem
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.stars import Star, one_band

LEAST = 16
"""Measurements of a curve: half of them are the curve, the others spectrum and metadata."""
LONGEST = 20_000.0
"""Days that a curve may span: its periodogram holds a cell for each 0.02 of them."""
GRID = (-3.0, 1.0, 256)
"""First, last and number of the bins of log10 of cycles a day in which ``CurveStars`` have their periodogram."""
BIN = 0.02
"""Bin of times for the Fourier transform, in days; frequencies up to 10 a day lose little."""


def power(curve: LightCurve, grid: NDArray[np.float64]) -> LightCurve:
    """Return the periodogram of a curve in days: the greatest amplitude in (W,) even bins of log10 of cycles a day."""
    slot = np.round((curve.time - curve.time[0]) / BIN).astype(np.int64)
    slots = np.zeros(1 << int(slot[-1] + 1).bit_length())
    np.add.at(slots, slot, curve.value - curve.value.mean())
    amplitude = np.abs(np.fft.rfft(slots))[1:] / len(curve.value)
    frequency = np.log10(np.fft.rfftfreq(len(slots), BIN)[1:])
    step = grid[1] - grid[0]
    bins = np.round((frequency - grid[0]) / step).astype(np.int64)
    inside = (bins >= 0) & (bins < len(grid))
    best = np.zeros(len(grid))
    np.maximum.at(best, bins[inside], amplitude[inside])
    return LightCurve(grid, best)


def moments(curve: LightCurve, spectrum: LightCurve) -> NDArray[np.float64]:
    """Return eleven statistics of a curve: location, spread, and the frequency and strength of its best period."""
    from scipy.stats import kurtosis, skew  # its import is slow and adds warning filters

    v = curve.value
    low, lower, middle, upper, high = np.percentile(v, [5, 25, 50, 75, 95])
    steps = np.diff(v)
    best = int(spectrum.value.argmax())
    return np.array(
        [
            v.mean(), v.std(), skew(v), kurtosis(v), high - low, upper - lower, (high - middle) / (middle - low + 1e-9),
            np.abs(v - v.mean()).mean(), (steps @ steps) / (len(v) * v.var() + 1e-9), spectrum.time[best],
            spectrum.value[best] / (v.std() + 1e-9),
        ]
    )  # fmt: skip


def halves(curve: LightCurve, grid: NDArray[np.float64]) -> Star:
    """Return a star of one light curve: even measurements are its curve, odd ones its spectrum and its metadata."""
    even, odd = (
        LightCurve(*(None if a is None else a[s::2] for a in (curve.time, curve.value, curve.error)))  # type: ignore[arg-type]
        for s in (0, 1)
    )
    spectrum = power(odd, grid)
    return Star(even, spectrum, moments(odd, spectrum))


@dataclass(frozen=True)
class CurveStars:
    """Stars of light curves as samples, see ``halves``: of each curve the band with most measurements.

    Args:
        curves: N light curves, with times in days.
    """

    curves: Samples[LightCurve]
    _read: dict[int, Star] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.curves)

    def __getitem__(self, index: int, /) -> Star:
        if index not in self._read:
            curve = _usable(one_band(self.curves[index]), self.name(index))
            self._read[index] = halves(curve, np.linspace(*GRID))
        return self._read[index]

    def key(self, index: int, /) -> str:
        """Return the hash of the light curve's key."""
        return hashlib.sha256(f"{self.curves.key(index)}/halves {GRID}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the object's name."""
        return self.curves.name(index)


def _usable(curve: LightCurve, name: str) -> LightCurve:
    if len(curve.time) < LEAST:
        raise UnreadableItem(name, f"has {len(curve.time)} measurements in one band, and {LEAST} are needed")
    if curve.time[-1] - curve.time[0] > LONGEST:
        raise UnreadableItem(name, f"spans more than {LONGEST:,.0f} days: give times in days")
    return curve
