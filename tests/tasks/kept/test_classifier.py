"""A classifier that ``features.artefacts`` keeps, as a converted released file, answers as an exported one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import diptych
from diptych.backbones.sources.load import load as load_backbone
from diptych.core import ClassNames, DataError, Evidence, Kit, Run, UsageError
from diptych.features import artefacts
from diptych.features.heads import logits_of
from diptych.methods.classify.zero_shot import ZeroShot
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.tasks.kept.classifier import about_kept, is_kept
from diptych.tasks.model import load, read_about
from tests.support.pictures import Pictures, picture

PHOTOS = Pictures(tuple(picture(k, k) for k in range(3)))
NAMES = ClassNames(("cat", "red barn"))


def kept(folder: Path) -> tuple[Path, NDArray[np.float64]]:
    """Return the folder of a classifier, and the probabilities that it gives."""
    backbone = load_backbone("tiny")
    method = ZeroShot()
    fitted = method.fit(Kit.of(backbone), NAMES, Evidence(), Run())
    artefacts.save(fitted, folder / "kept", method)
    scores = fitted.checked_scores(PHOTOS, Run())
    return folder / "kept", logits_of(scores, backbone).double().softmax(dim=1).numpy()


def test_it_answers_with_the_scores_of_what_was_fitted(tmp_path: Path) -> None:
    folder, expected = kept(tmp_path)
    assert is_kept(folder)
    about = read_about(folder)
    assert (about["method"], about["classes"], about["spec"]["name"]) == ("zero-shot", NAMES.names, "tiny")
    assert about["fingerprint"] == load_backbone("tiny").fingerprint
    model = load(folder)
    assert np.array_equal(model.predict_proba(list(PHOTOS.images)), expected)
    assert diptych.load_classifier(folder).classes.names == NAMES.names
    with pytest.raises(UsageError, match="without calibration items"):
        model.require_calibration()


def test_what_is_no_classifier_is_named_before_a_backbone_is_loaded(tmp_path: Path) -> None:
    backbone = load_backbone("tiny")
    method = MaskCLIP()
    artefacts.save(method.fit(Kit.of(backbone), NAMES, Evidence(), Run()), tmp_path / "masks", method)
    with pytest.raises(UsageError, match="what maskclip fitted, which belongs to 'diptych segment': give the folder"):
        about_kept(tmp_path / "masks")
    folder, _ = kept(tmp_path)
    (folder / "tensors.safetensors").write_bytes(b"")
    with pytest.raises(DataError):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no exported model"):
        load(tmp_path / "empty")
