from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from diptych.core import DataError, Samples
from diptych.data.formats.lightcurves import LightCurve
from diptych.data.stars import Stars, curve_channels, one_band, spectrum_channels
from proofs.benches.stars import paired_anew, refuse_overlap
from tests.support.stars import star, stars

TIME = np.array([5.0, 1.0, 2.0, 2.0, 9.0])
CURVE = LightCurve(TIME, np.array([3.0, 1.0, 7.0, 7.0, 2.0]), np.full(5, 0.5))


def test_curves_are_sorted_scaled_and_padded() -> None:
    channels, seen = curve_channels(CURVE, 6)
    value = np.array([1.0, 7.0, 3.0, 2.0])  # without the doubled row
    mad = median_abs_deviation(value)
    assert seen.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(channels[:4, 0], [0, 1 / 8, 0.5, 1])
    np.testing.assert_allclose(channels[:4, 1], (value - value.mean()) / mad)
    np.testing.assert_allclose(channels[:4, 2], 0.5 / mad)
    np.testing.assert_allclose(channels[:4, 3], np.log10(mad))
    np.testing.assert_allclose(channels[:4, 4], 8 / 365)
    assert not channels[4:].any()


def test_long_curves_are_scaled_whole_and_cut_in_the_middle_or_anywhere() -> None:
    order = np.random.default_rng(0).permutation(10)
    long = LightCurve(np.arange(10.0)[order], np.arange(10.0)[order] ** 2)
    whole, _ = curve_channels(long, 10)
    channels, seen = curve_channels(long, 4)
    assert seen.all()
    np.testing.assert_array_equal(channels, whole[3:7])  # the same numbers in every window
    np.testing.assert_allclose(whole[:, 4], 9 / 365)
    starts = set()
    for share in np.linspace(0, 0.999, 50):
        cut, _ = curve_channels(long, 4, share)
        first = int(np.round(cut[0, 0] * 9))
        np.testing.assert_array_equal(cut, whole[first : first + 4])  # consecutive in time, whatever the stored order
        starts.add(first)
    assert starts == set(range(7))
    np.testing.assert_array_equal(curve_channels(long, 40, 0.9)[0][:10], whole)
    assert curve_channels(replace(long, error=np.full(10, np.nan)), 4)[0][:, 2].tolist() == [0.0] * 4


def test_flat_curves_are_zeros_and_no_division() -> None:
    channels, _ = curve_channels(LightCurve(np.arange(3.0), np.full(3, 5.0)), 3)
    assert not channels[:, 1:4].any()
    assert np.isfinite(curve_channels(LightCurve(np.array([2.0]), np.array([1.0])), 3)[0]).all()
    with pytest.raises(DataError, match="no measurement"):
        curve_channels(LightCurve(np.array([]), np.array([])), 3)


def test_spectra_lie_on_one_grid() -> None:
    spectrum = LightCurve(np.array([10.0, 20.0, 30.0]), np.array([0.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0]))
    grid = np.array([5.0, 10.0, 15.0, 20.0, 25.0, 30.0])
    value = np.array([0.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    mad = median_abs_deviation(value[value != 0])
    found = spectrum_channels(spectrum, grid)
    np.testing.assert_allclose(found[0], (value - value.mean()) / mad)
    np.testing.assert_allclose(found[1], np.array([1, 1, 1, 1, 2, 3]) / mad)
    np.testing.assert_allclose(found[2], np.log10(mad))
    assert not spectrum_channels(LightCurve(grid, np.zeros(6)), grid).any()
    with pytest.raises(DataError, match="no measurement"):
        spectrum_channels(LightCurve(np.array([]), np.array([])), grid)


def test_the_order_of_a_spectrum_does_not_count_and_nothing_that_is_not_finite_enters() -> None:
    one = star(0)
    assert one.curve is not None
    assert one.spectrum is not None
    s, grid = one.spectrum, np.linspace(4000, 5000, 99)
    turned = LightCurve(*(v[::-1] for v in (s.time, s.value, s.error)))  # type: ignore[index, arg-type]
    np.testing.assert_array_equal(spectrum_channels(turned, grid), spectrum_channels(s, grid))
    for curve, made in (
        (one.curve, lambda c: curve_channels(c, 9)),
        (s, lambda c: spectrum_channels(c, grid)),
    ):
        for name in ("time", "value"):
            spoiled = getattr(curve, name).copy()
            spoiled[3] = np.nan if name == "value" else np.inf
            with pytest.raises(DataError, match="1 times or values that are not finite"):
                made(replace(curve, **{name: spoiled}))


def test_keys_name_what_was_observed() -> None:
    data = stars(3)
    assert isinstance(data, Samples)
    bare = Stars(("x", "y"), [data.stars[0], replace(data.stars[0], spectrum=None)])
    assert bare.key(0) == data.key(0) != bare.key(1)
    assert len({data.key(i) for i in range(3)}) == 3
    assert data.name(2) == "star 2"


def test_pairs_are_made_anew_and_curves_stay() -> None:
    data, order = stars(4), [1, 2, 3, 0]
    made = paired_anew(data, order)
    assert [s.curve for s in made.stars] == [s.curve for s in data.stars]
    assert made.stars[0].spectrum is data.stars[1].spectrum
    assert made.stars[0].metadata is data.stars[2].metadata


def test_a_star_in_both_splits_is_found() -> None:
    refuse_overlap(stars(4), stars(4, 10))
    with pytest.raises(DataError, match="2 test stars were seen in training, star 2"):
        refuse_overlap(stars(4), stars(4, 2))
    assert star(0).curve is not None
    whole = star(0)
    fewer = [
        replace(whole, spectrum=None, metadata=None),
        replace(whole, curve=None, metadata=None),
        replace(whole, curve=None, spectrum=None),
        replace(whole, metadata=None, window=0.3),
    ]
    for part in fewer:
        for seen, test in ((whole, part), (part, whole)):
            with pytest.raises(DataError, match="1 test stars were seen"):
                refuse_overlap(Stars(("seen",), [seen]), Stars(("test",), [test]))
    refuse_overlap(stars(1), Stars(("other",), [replace(star(7), metadata=whole.metadata)]))  # equal facts by chance


def test_a_star_that_was_observed_anew_is_found_by_its_name() -> None:
    first, second = (Stars(("Mira", f"only {i}"), [star(2 * i), star(2 * i + 1)]) for i in range(2))
    with pytest.raises(DataError, match="1 test stars were seen in training, Mira first"):
        refuse_overlap(first, second)


def test_one_band_is_seen_the_named_or_the_commonest() -> None:
    curve = LightCurve(np.arange(4.0), np.arange(4.0), None, np.array(["g", "V", "V", "g"]))
    assert one_band(curve).value.tolist() == [1, 2]
    assert one_band(curve, "g").time.tolist() == [0, 3]
    assert one_band(LightCurve(np.arange(2.0), np.arange(2.0))).value.tolist() == [0, 1]
