from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import Run
from diptych.features.clips import ClipEncoder, ClipSpace, PooledFrames, drawn, image_head
from diptych.features.embed import embed
from diptych.nn.prompts.deep import appended, refreshed
from tests.support.moving import Clips, clip
from tests.support.towers import IMAGES, TEXTS, case
from tests.support.visual_backbone import SIDE, VisualBackbone, ViTImage

BACKBONE = VisualBackbone()
CLIPS = Clips(tuple(clip(k, k, frames) for k, frames in ((0, 4), (1, 4), (2, 9), (0, 1))))


def test_a_clip_is_the_mean_of_its_frames_before_any_norm() -> None:
    embeddings = embed(ClipSpace(BACKBONE, 4).image, CLIPS, Run())
    with torch.no_grad():
        frames = [BACKBONE.image.encode(BACKBONE.image.inputs([f])) for f in CLIPS[0]]
    by_hand = np.mean([f.numpy()[0] for f in frames], axis=0)
    np.testing.assert_allclose(embeddings[0].numpy(), by_hand, rtol=1e-5, atol=1e-6)


def test_bright_frames_weigh_more_than_dark_ones() -> None:
    """Normalised first, both frames would weigh the same and the clip would point halfway."""
    bright, dark = torch.zeros(2, 3, SIDE, SIDE).unbind()
    bright[0], dark[1] = 1.0, 0.1

    class Colours(ViTImage):
        def inputs(self, items: Sequence[Any], size: int | None = None) -> torch.Tensor:
            return torch.stack(list(items))

        def encode(self, x: Any, /) -> torch.Tensor:
            return x.mean((2, 3))

    encoder = ClipEncoder(Colours(BACKBONE.image.tower, ""), 2)  # type: ignore[attr-defined]
    torch.testing.assert_close(encoder.encode(encoder.inputs([(bright, dark)])), torch.tensor([[0.5, 0.05, 0.0]]))


def test_long_and_short_clips_are_read_at_their_middles() -> None:
    encoder = ClipSpace(BACKBONE, 3).image
    with torch.no_grad():
        long = encoder.encode(encoder.inputs([CLIPS[2]]))
        middles = encoder.encode(encoder.inputs([tuple(CLIPS[2][i] for i in (1, 4, 7))]))
        short = encoder.encode(encoder.inputs([CLIPS[3]]))
        photo = BACKBONE.image.encode(BACKBONE.image.inputs([CLIPS[3][0]]))
    torch.testing.assert_close(long, middles)
    torch.testing.assert_close(short, photo)


def test_the_number_of_frames_is_part_of_the_fingerprint() -> None:
    assert len({ClipSpace(BACKBONE, t).fingerprint for t in (1, 2, 8)} | {BACKBONE.fingerprint}) == 4


def test_pooled_frames_and_their_head_give_the_clip() -> None:
    pool, project = image_head(BACKBONE)
    clips = ClipSpace(BACKBONE, 4).image
    cut = PooledFrames(pool, clips, 24)  # type: ignore[arg-type]
    pooled = embed(cut, CLIPS, Run()).unflatten(1, (4, 24))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        torch.testing.assert_close(project(pooled).mean(1), embed(clips, CLIPS, Run()))


def test_a_training_view_treats_all_frames_alike() -> None:
    still = (Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)),) * 5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        views = [drawn(still, 3, SIDE, torch.Generator().manual_seed(s)) for s in range(6)]
    for view in views:
        assert view.shape == (3, 3, SIDE, SIDE)
        assert 0 <= view.min() <= view.max() <= 1
        torch.testing.assert_close(view[0], view[2])
    assert not torch.equal(views[0], views[1])


def test_frames_of_other_sizes_are_cropped_at_the_same_place() -> None:
    """Frame folders hold photos as they were taken: the same picture, twice as large, gives the same view, whichever
    comes first.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    small, large = (Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC) for size in ((90, 60), (180, 120)))
    for frames in ((small, large), (large, small)):
        for s in range(6):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                view = drawn(frames, 2, SIDE, torch.Generator().manual_seed(s))
            assert view.shape == (2, 3, SIDE, SIDE)
            assert float((view[0] - view[1]).abs().mean()) < 0.02
    upright = Image.new("RGB", (30, 50))
    assert drawn((large, upright), 2, SIDE, torch.Generator().manual_seed(0)).shape == (2, 3, SIDE, SIDE)


def test_a_training_view_draws_one_frame_of_each_segment_in_order() -> None:
    grey = tuple(Image.new("RGB", (20, 20), (4 * n,) * 3) for n in range(40))
    for s in range(8):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)  # a view without colour jitter would do, too: order survives it
            view = drawn(grey, 4, 8, torch.Generator().manual_seed(s))
        levels = view.mean((1, 2, 3))
        assert (levels.diff() > 0).all()


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS])
@torch.no_grad()
def test_prompts_of_all_later_blocks_matter(name: str) -> None:
    c = case(name)
    prompts = torch.randn(c.tower.depth, 2, c.tower.width, generator=torch.Generator().manual_seed(0))

    def encode(p: torch.Tensor) -> torch.Tensor:
        edit = appended(p) if c.modality == "image" else refreshed(p[1:], 1)
        return c.tower.project(c.tower.pooled(c.tower.blocks(c.tower.start(c.x, edit=edit), edit=edit)))

    base = encode(prompts)
    for i in range(0 if c.modality == "image" else 1, c.tower.depth):
        other = prompts.clone()
        other[i] = other[i].flip(0, 1)  # not + 1, which a LayerNorm would not see
        assert not torch.allclose(encode(other), base)
