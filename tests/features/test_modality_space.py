from __future__ import annotations

import pytest

from diptych.core import DataError, MissingHook, UsageError
from diptych.data.modalities import CLIPS, CLOUDS, STARS
from diptych.features.clips import ClipSpace
from diptych.features.modality_space import ModalitySpace, NoTexts, encoder_key
from tests.nn.spaces.test_star_space import space as stars
from tests.support.visual_backbone import VisualBackbone


def test_the_modality_stands_in_the_place_of_photos() -> None:
    clips = ClipSpace(VisualBackbone(), 2)
    seen = ModalitySpace(clips, CLIPS, "mine")
    assert seen.image is clips.image
    assert seen.text is clips.text
    assert (seen.spec.name, seen.score) == ("mine", clips.score)
    assert seen.scale()[0] == clips.scale()[0]
    assert seen.module() is clips.module()
    assert seen.fingerprint == clips.fingerprint
    assert seen.tower("text").depth == clips.tower("text").depth
    with pytest.raises(DataError, match="has no encoder of point clouds, only of clip, text"):
        ModalitySpace(clips, CLOUDS)


def test_a_space_without_texts_refuses_words() -> None:
    seen = ModalitySpace(stars(), STARS)
    assert encoder_key(stars(), STARS) == "photometry"
    assert isinstance(seen.text, NoTexts)
    assert seen.text.dim == seen.image.dim == seen.spec.dim
    with pytest.raises(UsageError, match="share no space with light curves"):
        seen.text.inputs(["a"])
    with pytest.raises(UsageError, match="share no space"):
        seen.text.encode(None)  # type: ignore[arg-type]
    with pytest.raises(MissingHook, match="words share no space with light curves"):
        seen.scale()
