"""Stars as samples: light curve, spectrum and metadata of one object, and the encoder inputs made of them.

- Curve: duplicate rows are dropped and rows sorted by time. value <- (value - mean) / MAD, error <- error / MAD, and
  time is scaled to [0, 1], all by the whole curve; then L rows are cut, in training and in tests alike.
- Spectrum: value and error are interpolated linearly to one grid of wavelengths, then scaled as the curve, with the MAD
  over values that are not 0.

MAD: median absolute deviation
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diptych.core import DataError
from diptych.data.formats.arrays import array_key
from diptych.data.formats.lightcurves import LightCurve

CURVE_CHANNELS, SPECTRUM_CHANNELS = 5, 3
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Star:
    """One object; None marks what was not observed.

    Args:
        spectrum: its spectrum, with wavelengths as times.
        metadata: (M,) float64, the same M quantities for every star; NaN where unknown.
        constants: (C,) float64, numbers that light curves hold as channels too, the same ones for every star.
        window: start of the rows of a long curve that enter the tower, as a share in [0, 1) of the possible starts;
            None: the middle. Training draws one in every epoch; it is no part of the key.
    """

    curve: LightCurve | None = None
    spectrum: LightCurve | None = None
    metadata: Array | None = None
    constants: Array | None = None
    window: float | None = None


@dataclass(frozen=True)
class Stars:
    """Stars in memory as samples.

    Args:
        names: N names.
        stars: N stars.
    """

    names: tuple[str, ...]
    stars: Sequence[Star] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Star:
        return self.stars[index]

    def key(self, index: int, /) -> str:
        """Return the hash of curve, spectrum and metadata."""
        star = self.stars[index]
        parts = [p for c in (star.curve, star.spectrum) for p in measured_arrays(c)]
        parts += [numbers for numbers in (star.metadata, star.constants) if numbers is not None]
        present = f"{star.curve is not None}/{star.spectrum is not None}/{star.metadata is not None}"
        present += "" if star.constants is None else "/constants"
        return hashlib.sha256(f"{present}/{array_key(*parts)}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the object's name."""
        return self.names[index]


def curve_channels(
    curve: LightCurve, length: int, window: float | None = None, *, constants: Array | None = None, padded: bool = False
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the (L, 5 + C) channels of a light curve, and which of the L rows are measurements.

    Args:
        curve: at least 1 measurement, in any order.
        length: L, number of rows.
        window: which L rows in the order of time are taken of more, see ``Star``.
        constants: (C,) numbers of the star; None: none.
        padded: whether constants stand in the rows of padding too, as in the code of AstroM3's authors.

    Returns:
        Time in [0, 1], value, error, the C constants, and two more: log10 of the MAD, and the length in years where
        times are days. All are those of the whole curve, so that a measurement has the same numbers in every window.
        Padding is 0. A MAD of 0, that of a flat curve, counts as 1.

    Raises:
        DataError: there is no measurement, or one is not finite.
    """
    if len(curve.time) == 0:
        raise DataError("A light curve holds no measurement: leave the star out.")
    _finite(curve, "light curve")
    error = np.zeros_like(curve.value) if curve.error is None else np.nan_to_num(curve.error)
    rows = np.unique(np.stack([curve.time, curve.value, error], axis=1), axis=0)  # sorted by time, without duplicates
    time, value, error = rows.T
    value, error, mad = _scaled(value, error, value)
    span = time[-1] - time[0]
    same = np.concatenate([[] if constants is None else constants, [np.log10(mad), span / 365]])
    channels = np.column_stack([(time - time[0]) / (span or 1.0), value, error, np.tile(same, (len(time), 1))])
    spare = max(0, len(rows) - length)
    start = spare // 2 if window is None else int(window * (spare + 1))
    cut = channels[start : start + length]
    out = np.zeros((length, 3 + len(same)))
    if padded:
        out[:, 3:] = same
    out[: len(cut)] = cut
    return out, np.arange(length) < len(cut)


def one_band(curve: LightCurve, band: str | None = None) -> LightCurve:
    """Return the measurements of one band; None: the most frequent band, and of ties the first by name."""
    if curve.band is None or not len(curve.band):
        return curve
    if band is None:
        bands, counts = np.unique(curve.band, return_counts=True)
        band = bands[counts.argmax()]
    rows = curve.band == band
    return LightCurve(curve.time[rows], curve.value[rows], None if curve.error is None else curve.error[rows])


def spectrum_channels(spectrum: LightCurve, grid: Array) -> Array:
    """Return the (3, W) channels of a spectrum on W wavelengths: value, error and the constant log10 of the MAD.

    Its measurements may be in any order. Beyond its ends a spectrum has its last value, as in ``numpy.interp``.

    Raises:
        DataError: there is no measurement, or one is not finite.
    """
    if len(spectrum.time) == 0:
        raise DataError("A spectrum holds no measurement: leave the star out, or its spectrum.")
    _finite(spectrum, "spectrum")
    error = np.zeros_like(spectrum.value) if spectrum.error is None else np.nan_to_num(spectrum.error)
    order = np.argsort(spectrum.time, kind="stable")
    value, error = (np.interp(grid, spectrum.time[order], v[order]) for v in (spectrum.value, error))
    value, error, mad = _scaled(value, error, value[value != 0])
    return np.stack([value, error, np.full_like(value, np.log10(mad))])


def _scaled(value: Array, error: Array, over: Array) -> tuple[Array, Array, float]:
    """Return value less its mean, and error, both over the MAD of ``over``, and that MAD.

    The centre is the mean, as in the authors' code.
    """
    mad = float(np.median(np.abs(over - np.median(over)))) if len(over) else 0.0
    mad = mad if mad > 0 else 1.0
    return (value - value.mean()) / mad, error / mad, mad


def _finite(curve: LightCurve, kind: str) -> None:
    bad = int((~(np.isfinite(curve.time) & np.isfinite(curve.value))).sum())
    if bad:
        raise DataError(f"A {kind} has {bad} times or values that are not finite: leave these measurements out.")


def measured_arrays(curve: LightCurve | None) -> list[Array]:
    """Return times, values and errors, as far as there are any; [] without a curve."""
    return [] if curve is None else [a for a in (curve.time, curve.value, curve.error) if a is not None]
