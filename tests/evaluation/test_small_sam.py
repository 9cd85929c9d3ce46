from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import Prompted, Prompts, Run, Seen
from diptych.evaluation.small_sam import FIT, iou_in_boxes, new_sam, objects_of, on_input, prompts, small_sam
from diptych.metrics.segmentation import IGNORE
from tests.support.pictures import Pictures

SQUARES = np.zeros((2, 32, 32), dtype=bool)
SQUARES[0, 4:12, 4:12] = SQUARES[1, 18:30, 16:28] = True


def photo(objects: Any) -> Image.Image:
    shown = np.full((*objects.shape[1:], 3), 30, dtype=np.uint8)
    shown[objects.any(0)] = 220
    return Image.fromarray(shown)


def test_positions_are_codes_in_which_near_points_are_alike() -> None:
    codes = new_sam(64, 8, Run()).model.shared_image_embedding
    at = torch.tensor([[10.5, 10.5], [11.5, 10.5], [50.5, 40.5]])[None, None] / 64
    one, beside, far = codes(at)[0, 0]
    assert F.cosine_similarity(one, beside, dim=0) > 0.9  # at the library's scale of 32 they are as strangers
    assert F.cosine_similarity(one, far, dim=0) < 0.6


@torch.no_grad()
def test_masks_depend_on_the_prompt_from_the_start() -> None:
    masks = new_sam(64, 8, Run())
    points = torch.rand(16, 1, 2, generator=torch.Generator().manual_seed(0)) * 64
    drawn = masks.ask(masks.see(photo(SQUARES)), Prompts(points=points)).logits[:, 0]
    assert drawn.std(0).mean() > 1e-3  # from the library's first weights it is 1e-5


def test_heads_of_the_decoder_are_wide_enough_to_find_a_place() -> None:
    decoder = new_sam(64, 8, Run()).model.mask_decoder
    attentions = [part for part in decoder.modules() if hasattr(part, "internal_dim")]
    assert len(attentions) == 7
    assert min(part.internal_dim // part.num_attention_heads for part in attentions) == 8  # 4 draw all that is there


def test_it_learns_to_draw_what_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    objects = [np.roll(SQUARES, tuple(rng.integers(0, 32, 2)), (1, 2)) for _ in range(16)]
    photos = Pictures(tuple(photo(o) for o in objects))
    fit = replace(FIT, steps=60)
    learnt = small_sam(photos, objects, 32, 8, Run(), fit)
    assert iou_in_boxes(learnt, photos, objects) > iou_in_boxes(new_sam(32, 8, Run()), photos, objects) + 0.2


def test_the_seed_and_the_steps_decide_the_weights() -> None:
    photos = Pictures((photo(SQUARES),) * 8)
    prints = [
        small_sam(photos, [SQUARES] * 8, 32, 8, Run(seed=seed), replace(FIT, steps=steps)).fingerprint
        for seed, steps in ((0, 2), (0, 2), (1, 2), (0, 1))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_prompts_lie_on_the_objects_that_they_ask_for() -> None:
    points, boxes, shown = prompts(torch.from_numpy(SQUARES), 12, torch.Generator().manual_seed(0))
    assert {tuple(b) for b in boxes.tolist()} == {(4.0, 4.0, 12.0, 12.0), (16.0, 18.0, 28.0, 30.0)}
    x, y = points.long().T
    assert shown[torch.arange(12), y, x].all()
    torch.testing.assert_close(points % 1, torch.full((12, 2), 0.5))


def test_objects_are_brought_to_the_input_of_the_sam() -> None:
    masks = SamMasks(new_sam(32, 8, Run()).model)
    wide = np.zeros((2, 20, 40), dtype=bool)
    wide[0, :10, :20] = wide[1, 10:, 20:] = True
    found = on_input(masks, photo(wide), wide)
    assert found.shape == (2, 32, 32)  # 16 rows hold the photo
    assert found[0, :8, :16].all()
    assert found[1, 8:16, 16:].all()
    assert found.sum((1, 2)).tolist() == [128, 128]


def test_objects_of_a_label_map_are_connected_parts_of_some_size() -> None:
    labels = np.full((20, 20), 3)
    labels[:, 8:12], labels[0, 0], labels[5:9, 9:11] = 1, 7, IGNORE
    assert objects_of(labels).sum((1, 2)).tolist() == [72, 159, 160]  # the corner's one pixel is too few
    assert objects_of(np.full((4, 5), IGNORE)).shape == (0, 4, 5)


class Boxes:
    """Draws each box as it is."""

    def see(self, image: Any) -> Seen:
        return Seen((), (image.height, image.width), (1.0, 1.0))

    def ask(self, seen: Seen, prompts: Prompts, *, several: bool = False) -> Prompted:
        assert prompts.boxes is not None
        out = torch.full((len(prompts.boxes), 1, *seen.size), -1.0)
        for row, (x0, y0, x1, y1) in zip(out, prompts.boxes.int().tolist(), strict=True):
            row[0, y0:y1, x0:x1] = 1
        return Prompted(out, out.new_ones(len(out), 1))


def test_iou_in_boxes_is_the_mean_over_objects() -> None:
    corner = np.zeros((1, 32, 32), dtype=bool)
    corner[0, 0, :10] = corner[0, :10, 0] = True  # 19 of the 100 pixels of its box
    none = np.zeros((0, 32, 32), dtype=bool)
    photos = Pictures((photo(SQUARES), photo(none), photo(corner)))
    found = iou_in_boxes(Boxes(), photos, [SQUARES, none, corner])  # type: ignore[arg-type]
    assert found == pytest.approx((1 + 1 + 0.19) / 3)
