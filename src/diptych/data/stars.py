"""Stars as samples: a light curve, a spectrum and metadata of one object, and what an encoder sees of each.

Curve     drop doubled rows, sort by time; value <- (value - mean) / MAD, error <- error / MAD; t -> [0, 1] over the
          curve
Spectrum  value and error at the wavelengths of one grid, by straight lines; then as the curve, MAD over
          values that are not 0
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from diptych.core.data import Samples
from diptych.core.errors import DataError
from diptych.data.formats.arrays import array_key
from diptych.data.formats.lightcurves import LightCurve

CURVE_CHANNELS, SPECTRUM_CHANNELS = 5, 3
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Star:
    """One object; what is None was not observed.

    Args:
        curve: its light curve.
        spectrum: its spectrum, time being the wavelength.
        metadata: (M,) float64, the same M facts of every star; NaN where unknown.
    """

    curve: LightCurve | None = None
    spectrum: LightCurve | None = None
    metadata: Array | None = None


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
        """Return the hash of all that was observed."""
        star = self.stars[index]
        parts = [p for c in (star.curve, star.spectrum) for p in _arrays(c)] + (
            [] if star.metadata is None else [star.metadata]
        )
        held = f"{star.curve is not None}/{star.spectrum is not None}/{star.metadata is not None}"
        return hashlib.sha256(f"{held}/{array_key(*parts)}".encode()).hexdigest()

    def name(self, index: int, /) -> str:
        """Return the object's name."""
        return self.names[index]


def curve_channels(curve: LightCurve, length: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return what an encoder sees of a light curve: (L, 5) channels, and which of the L rows are measurements.

    Args:
        curve: any number of measurements, at least 1; of more than L, those in the middle are seen.
        length: L.

    Returns:
        Time in [0, 1], value, error, and two constants: log10 of the MAD, and the length in years where times are days.
        Padding is 0. A MAD of 0 counts as 1: such a curve is flat.

    Raises:
        DataError: there is no measurement.
    """
    if len(curve.time) == 0:
        raise DataError("A light curve holds no measurement: leave the star out.")
    error = np.zeros_like(curve.value) if curve.error is None else np.nan_to_num(curve.error)
    rows = np.unique(np.stack([curve.time, curve.value, error], axis=1), axis=0)  # sorted by time, and without doubles
    start = max(0, (len(rows) - length) // 2)
    time, value, error = rows[start : start + length].T
    value, error, mad = _scaled(value, error, value)
    span = time[-1] - time[0]
    seen = np.arange(length) < len(time)
    out = np.zeros((length, CURVE_CHANNELS))
    constants = np.broadcast_to([np.log10(mad), span / 365], (len(time), 2))
    out[seen] = np.column_stack([(time - time[0]) / (span or 1.0), value, error, constants])
    return out, seen


def window(curve: LightCurve, length: int, share: float) -> LightCurve:
    """Return L measurements in a row, those that begin at a share in [0, 1) of the possible starts; shorter curves as
    they are.

    For training: a window drawn anew in every epoch, where a test sees the middle.
    """
    start = int(share * (max(0, len(curve.time) - length) + 1))
    cut = slice(start, start + length)
    return LightCurve(*(None if a is None else a[cut] for a in (curve.time, curve.value, curve.error, curve.band)))  # type: ignore[arg-type]


def one_band(curve: LightCurve, band: str | None = None) -> LightCurve:
    """Return the measurements of one band; None: of the commonest, and of equally common ones the first by name."""
    if curve.band is None or not len(curve.band):
        return curve
    if band is None:
        bands, counts = np.unique(curve.band, return_counts=True)
        band = bands[counts.argmax()]
    own = curve.band == band
    return LightCurve(curve.time[own], curve.value[own], None if curve.error is None else curve.error[own])


def spectrum_channels(spectrum: LightCurve, grid: Array) -> Array:
    """Return what an encoder sees of a spectrum: (3, W) value, error and the constant log10 of the MAD, on W
    wavelengths.

    Beyond its ends a spectrum is continued by its last value, as ``numpy.interp`` does.

    Raises:
        DataError: there is no measurement.
    """
    if len(spectrum.time) == 0:
        raise DataError("A spectrum holds no measurement: leave the star out, or its spectrum.")
    error = np.zeros_like(spectrum.value) if spectrum.error is None else np.nan_to_num(spectrum.error)
    value, error = (np.interp(grid, spectrum.time, v) for v in (spectrum.value, error))
    value, error, mad = _scaled(value, error, value[value != 0])
    return np.stack([value, error, np.full_like(value, np.log10(mad))])


def absolute_magnitude(magnitude: Array, parallax: Array) -> Array:
    """Return M = m - 10 + 5 log10(parallax), the parallax in thousandths of a second of arc and taken as 1 where it is
    not above 0.
    """
    out: Array = magnitude - 10 + 5 * np.log10(np.where(parallax > 0, parallax, 1.0))
    return out


def paired_anew(stars: Stars, order: Sequence[int]) -> Stars:
    """Return stars whose spectra are those of other stars, and whose metadata are those of yet others: the control of
    pairing.

    Args:
        stars: N complete stars.
        order: (N,) permutation; spectra follow it once, metadata twice.
    """
    made = [
        replace(star, spectrum=stars.stars[order[i]].spectrum, metadata=stars.stars[order[order[i]]].metadata)
        for i, star in enumerate(stars.stars)
    ]
    return Stars(stars.names, made)


def refuse_overlap(seen: Samples[Star], test: Samples[Star]) -> None:
    """Make sure that no test star was seen in training: pre-training and fine-tuning must be cut by the same seed.

    Raises:
        DataError: a star is in both.
    """
    held = {seen.key(i) for i in range(len(seen))}
    if both := [test.name(i) for i in range(len(test)) if test.key(i) in held]:
        raise DataError(f"{len(both)} test stars were seen in training, {both[0]} first: cut both by one split.")


def _scaled(value: Array, error: Array, over: Array) -> tuple[Array, Array, float]:
    """Return value and error over the MAD, which is taken over other values; the centre is the mean, as the authors
    have it.
    """
    mad = float(np.median(np.abs(over - np.median(over)))) if len(over) else 0.0
    mad = mad if mad > 0 else 1.0
    return (value - value.mean()) / mad, error / mad, mad


def _arrays(curve: LightCurve | None) -> list[Array]:
    return [] if curve is None else [a for a in (curve.time, curve.value, curve.error) if a is not None]
