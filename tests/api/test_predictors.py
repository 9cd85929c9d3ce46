"""Segmenters, detectors and captioners that were fitted in Python are saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import diptych
from diptych.api.model import Model
from diptych.core import Run, UsageError
from diptych.features.artefacts import stated
from tests.support.dense_colours import DenseColours, halves

DENSE = Model(DenseColours(), Run())
PHOTO = halves("red", "blue", 60, 40)


def test_python_saves_what_fit_returned_and_loads_it(tmp_path: Path) -> None:
    kinds = diptych.systems
    fitted = kinds.MaskCLIP().fit(DENSE, names=["red", "green"])
    fitted.save(tmp_path / "segmenter")
    again = kinds.MaskCLIP.load(tmp_path / "segmenter", DENSE)
    assert np.array_equal(again.segment([PHOTO])[0].labels, fitted.segment([PHOTO])[0].labels)
    again.save(tmp_path / "second")
    assert stated(tmp_path / "second").system == fitted.method
    found = diptych.segment([PHOTO], None, DENSE, fitted=tmp_path / "segmenter")
    assert np.array_equal(found[0].labels, fitted.segment([PHOTO])[0].labels)
    with pytest.raises(UsageError, match=r"holds what maskclip fitted, and not sclip"):
        kinds.SCLIP.load(tmp_path / "segmenter", DENSE)
    with pytest.raises(UsageError, match="exists: name another folder"):
        fitted.save(tmp_path / "segmenter")
