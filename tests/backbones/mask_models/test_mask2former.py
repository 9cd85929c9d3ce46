from __future__ import annotations

import torch
import transformers as hf

from diptych.backbones.mask_models.mask2former import Mask2FormerProposals
from tests.support.mask_models import mask2former, quarters


def test_mask2formers_queries_are_proposals() -> None:
    processor = hf.Mask2FormerImageProcessor(size={"shortest_edge": 40, "longest_edge": 64})
    model = mask2former()
    found = Mask2FormerProposals(model, processor).propose(quarters())
    inputs = processor(images=quarters(), return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    expected = 1 - out.class_queries_logits[0].softmax(-1)[:, -1]
    torch.testing.assert_close(found.scores, expected.sort(descending=True).values)
    assert len(found) == 7
    assert bool(inputs["pixel_mask"].all())  # one picture is never padded, so the map lies evenly over it
    assert found.masks.shape[1:] == out.masks_queries_logits.shape[2:]
