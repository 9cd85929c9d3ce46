from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, Run, UsageError
from diptych.data.modalities import CLIPS, CLOUDS, STARS
from diptych.methods.extend.ila import ILA
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.extenders import (
    classes_of,
    default_extender,
    evidence_of,
    extender,
    extenders,
    learnable,
    of_modality,
    readable,
    refuse_shared,
    unlabelled_of,
    untrained_space,
)
from tests.support.sky import TINY, sky
from tests.support.visual_backbone import VisualBackbone


def test_systems_are_found_by_their_modality_and_settings_by_their_names() -> None:
    assert [e.card.slug for e in extenders("clips")] == ["vifi-clip", "frame-mean", "ila"]
    assert [default_extender(kind) for kind in (CLIPS, CLOUDS, STARS)] == ["vifi-clip", "clip2point", "astrom3"]
    method = extender("ila", frames=4, passes=3, tunes="heads")
    assert isinstance(method, ILA)
    assert (method.frames, method.epochs, method.sampling) == (4, 3, "middle")
    assert extender("clip2point", passes=7).adapter_epochs == 7  # type: ignore[attr-defined]
    assert extender("vifi-clip:prompts", frames=None).tunes == "prompts"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="no variant 'x'"):
        extender("vifi-clip:x")
    with pytest.raises(UsageError, match="astrom3 learns from light curves, and these are clips"):
        of_modality("astrom3", CLIPS)


def test_an_untrained_space_takes_samples_and_words() -> None:
    space = untrained_space("clouds", VisualBackbone(), Run())
    assert space.image.modality == "cloud"
    assert space.text.encode(space.text.inputs(["a box"])).shape[1] == space.image.dim
    assert DEFAULTS["untrained clips"] == "frame-mean"
    with pytest.raises(UsageError, match="No backbone knows light curves by the names of classes"):
        untrained_space("stars", VisualBackbone(), Run())


def test_samples_that_cannot_be_read_or_are_measured_too_are_refused(tmp_path: Path) -> None:
    table = STARS.open([str(sky(tmp_path / "sky"))]).split("test")
    with pytest.raises(DataError, match="The only light curve cannot be read: s22"):
        readable(table.take([6]), STARS)
    with pytest.raises(DataError, match="3 measured light curves are also learnt from, s16 first"):
        refuse_shared(table.items, table.take([0, 1, 2]).items, STARS)


def test_stars_give_labelled_and_unlabelled_curves(tmp_path: Path) -> None:
    data = STARS.open([str(sky(tmp_path / "sky"))])
    labelled, _ = learnable(TINY, data, STARS)
    assert labelled is not None
    unlabelled, failed = unlabelled_of(TINY, data, labelled, STARS)
    assert unlabelled is not None
    assert (len(labelled), len(unlabelled), [e.name for e in failed]) == (15, 16, [])
    classes = classes_of(data, STARS)
    assert classes.templates == ("{}",)
    evidence = evidence_of(TINY, data, labelled, unlabelled, classes, "test")
    assert (evidence.train, evidence.val, evidence.unlabelled) == (None, None, unlabelled)
