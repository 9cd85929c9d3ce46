"""Every class of ``diptych.systems`` loads what its system fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych import catalog
from diptych.api.model import Model
from diptych.core import Evidence, Kit, Method, Run, UsageError
from diptych.features import artefacts
from diptych.testing.backbones import small_clip
from diptych.testing.roles.curate import Pairs
from diptych.testing.samples import clip_task
from tests.support.backbone import SmallBackbone
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.visual_backbone import VisualBackbone

COLOURED = Model(ColourBackbone(), Run())


def plain(name: str, shade: int = 0) -> Image.Image:
    """One colour, of which two channels differ by the shade."""
    colour = np.array(COLOURS[name]) + np.array([shade, -(shade**2) % 7, 0])
    return Image.fromarray((np.zeros((32, 32, 3)) + colour).clip(0, 255).astype(np.uint8))


def test_python_loads_classifiers_detectors_captioners_and_plans(tmp_path: Path) -> None:
    kinds = diptych.systems
    classifier = kinds.ZeroShot().fit(COLOURED, names=["red", "blue"])
    classifier.save(tmp_path / "classifier")
    loaded = kinds.ZeroShot.load(tmp_path / "classifier", COLOURED)
    assert np.array_equal(loaded.predict_proba([plain("red")]), classifier.predict_proba([plain("red")]))
    with pytest.raises(UsageError, match=r"holds what zero-shot fitted, and not gda"):
        kinds.GDA.load(tmp_path / "classifier", COLOURED)
    artefacts.save(classifier.fitted, tmp_path / "bare", classifier_system(classifier))
    bare = kinds.ZeroShot.load(tmp_path / "bare", COLOURED)
    assert torch.equal(bare.fitted.head, classifier.fitted.head)  # type: ignore[attr-defined]

    detector = kinds.Gaussian().fit(COLOURED, normal=[plain("red", i) for i in range(8)])
    detector.save(tmp_path / "detector")
    ends = [
        d.detect([plain("blue")])[0].score for d in (detector, kinds.Gaussian.load(tmp_path / "detector", COLOURED))
    ]
    assert ends[0] == ends[1]

    captioner = kinds.NearestCaption().fit(COLOURED, ["a red wall", "a blue sky"])
    captioner.save(tmp_path / "captioner")
    again = kinds.NearestCaption.load(tmp_path / "captioner", COLOURED)
    assert list(again.caption([plain("blue")])) == list(captioner.caption([plain("blue")]))


def classifier_system(classifier: Any) -> Method:
    return catalog.find(classifier.about["method"])()


def test_spaces_and_plans_are_saved_by_their_system(tmp_path: Path) -> None:
    extender = diptych.systems.FrameMean()
    backbone = VisualBackbone()
    space = extender.method.fit(Kit({"main": backbone}), clip_task()[0], Run())
    extender.save(space, tmp_path / "clips")
    again = diptych.systems.FrameMean.load(tmp_path / "clips", Model(backbone, Run()))
    assert again.fingerprint == space.fingerprint

    curator = diptych.systems.CaptionChecks()
    plan = curator.method.plan(Kit({"main": small_clip()}), Pairs(), Run())
    curator.save(plan, tmp_path / "plan")
    assert diptych.systems.CaptionChecks.load(tmp_path / "plan").report() == plan.report()
    with pytest.raises(UsageError, match="exists: give another"):
        curator.save(plan, tmp_path / "plan")


def test_a_retriever_without_a_backbone_needs_none(tmp_path: Path) -> None:
    pytest.importorskip("rapidfuzz")
    system = diptych.systems.StringMatching()
    system.save(system.method.fit(Kit({}), Evidence(), Run()), tmp_path / "letters")
    assert diptych.systems.StringMatching.load(tmp_path / "letters") == system.method.fit(Kit({}), Evidence(), Run())


def test_what_nothing_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        diptych.systems.SCLIP.load(tmp_path / "none", Model(SmallBackbone(), Run()))
