"""The frame mean: a NumPy loop over frames, blind to their order, and the photo itself where nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.core import Evidence, Kit, MissingHook, MissingPart, Run
from diptych.features.clips import ClipSpace
from diptych.features.embed import embed
from diptych.methods.extend.frame_mean import FrameMean
from tests.support.moving import Clips, clip
from tests.support.pictures import picture
from tests.support.refused import refused
from tests.support.visual_backbone import VisualBackbone

RUN = Run(workers=1)


def space(base: VisualBackbone, frames: int) -> ClipSpace:
    return FrameMean(frames).fit(Kit({"main": base}), Evidence(), RUN)


def test_a_clip_is_the_mean_over_its_middle_frames() -> None:
    base = VisualBackbone()
    clips = Clips((clip(0, 1, 7), clip(1, 2, 7)))
    found = embed(space(base, 3).image, clips, RUN).numpy()
    with torch.no_grad():
        for row, frames in zip(found, clips.clips, strict=True):
            own = [
                base.image.encode(base.image.inputs([frames[i]])).numpy()[0] for i in (1, 3, 5)
            ]  # middles of 7 frames in three parts
            np.testing.assert_allclose(row, np.mean(own, axis=0), rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_the_order_of_frames_does_not_matter_and_a_still_clip_is_its_photo() -> None:
    base = VisualBackbone()
    forwards = clip(0, 1, 4)
    still = (picture(2, 5),) * 4
    a, b, c = embed(space(base, 4).image, Clips((forwards, forwards[::-1], still)), RUN)
    torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(c, base.image.encode(base.image.inputs([still[0]]))[0])


def test_what_it_refuses() -> None:
    refused(FrameMean, {"frames": 0})
    with pytest.raises(MissingPart):
        FrameMean(2).fit(Kit({}), Evidence(), RUN)
    with pytest.raises(MissingHook, match="a clip takes several passes"):
        space(VisualBackbone(), 2).tower("image")
