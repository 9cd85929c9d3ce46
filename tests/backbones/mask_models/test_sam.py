from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from torch import nn

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.vision import sam_space
from diptych.core import MissingHook, PromptableMasks, Prompts, UsageError
from tests.support.pictures import picture
from tests.support.sam import small_sam
from tests.support.towers import randomised

BOXES = torch.tensor([[2.0, 3.0, 20.0, 25.0], [5.0, 1.0, 39.0, 29.0]])


def masks(seed: int = 0) -> SamMasks:
    return SamMasks(small_sam(seed))


def photo(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


@torch.no_grad()
def test_boxes_and_points_are_the_librarys_own_masks() -> None:
    sam, image = masks(), photo()
    seen = sam.see(image)
    inputs = hf.SamProcessor(sam.processor)(
        images=image, input_boxes=[BOXES.tolist()], input_points=[[[[10, 12]], [[30, 20]]]], return_tensors="pt"
    )
    for prompts, given in (
        (Prompts(boxes=BOXES), {"input_boxes"}),
        (Prompts(points=torch.tensor([[[10.0, 12.0]], [[30.0, 20.0]]])), {"input_points"}),
    ):
        out = sam.model(**{k: v.float() for k, v in inputs.items() if k in given | {"pixel_values"}})
        (expected,) = sam.processor.post_process_masks(
            out.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
        )
        answer = sam.ask(seen, prompts, several=True)
        assert answer.logits.shape == (2, 3, 30, 40)
        torch.testing.assert_close(answer.logits, expected.float(), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(answer.iou, out.iou_scores[0].float(), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_prompts_do_not_affect_each_other() -> None:
    sam = masks()
    seen = sam.see(photo())
    rough = torch.randn(2, 30, 40)
    points = torch.tensor([[[10.0, 12.0], [1.0, 2.0]], [[30.0, 20.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, 0], [1, -10]])
    both = sam.ask(seen, Prompts(points, labels, BOXES, rough))
    for p in range(2):
        one = sam.ask(seen, Prompts(points[p : p + 1], labels[p : p + 1], BOXES[p : p + 1], rough[p : p + 1]))
        torch.testing.assert_close(one.logits[0], both.logits[p], atol=1e-4, rtol=1e-4)
    assert both.logits.shape == (2, 1, 30, 40)
    plain = sam.ask(seen, Prompts(points, labels, BOXES))
    assert not torch.allclose(plain.logits, both.logits)  # the rough masks are read


@torch.no_grad()
def test_a_mask_alone_is_a_prompt() -> None:
    sam = masks()
    assert sam.ask(sam.see(photo()), Prompts(masks=torch.randn(1, 15, 20))).logits.shape == (1, 1, 30, 40)


def test_fingerprints_tell_weights_apart() -> None:
    assert isinstance(masks(), PromptableMasks)
    assert masks().fingerprint == masks().fingerprint != masks(1).fingerprint


def test_wrong_models_and_prompts_are_refused() -> None:
    with pytest.raises(UsageError, match="Linear"):
        SamMasks(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="got none"):
        Prompts()
    with pytest.raises(UsageError, match=r"\[1, 2\]"):
        Prompts(points=torch.zeros(1, 1, 2), boxes=torch.zeros(2, 4))


@torch.no_grad()
def test_the_encoder_is_a_space_of_images() -> None:
    space = sam_space(masks())
    x = space.encoders["image"].inputs([picture(0, 0)])
    assert space.encoders["image"].encode(x).shape == (1, 32)
    assert space.dense().maps(torch.randn(1, 3, 32, 64))[0].shape == (1, 32, 4, 8)  # another size, and not square
    with pytest.raises(MissingHook, match="images alone"):
        space.scale()
    with pytest.raises(MissingHook, match="text"):
        space.tower("text")


@torch.no_grad()
def test_sam_2_answers_too() -> None:
    config = hf.Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 16, "num_attention_heads": 1,
                "image_size": [64, 64], "embed_dim_per_stage": [16, 32, 64, 128], "blocks_per_stage": [1, 1, 1, 1],
                "num_attention_heads_per_stage": [1, 2, 4, 8], "window_size_per_stage": [4, 2, 4, 2],
                "global_attention_blocks": [],
            },
            "backbone_channel_list": [128, 64, 32, 16], "fpn_hidden_size": 32, "num_feature_levels": 3,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "patch_size": 16},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "mlp_dim": 32, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = SamMasks(randomised(hf.Sam2Model(config)))
    seen = sam.see(photo())
    answer = sam.ask(seen, Prompts(boxes=BOXES), several=True)
    assert answer.logits.shape == (2, 3, 30, 40)
    one = sam.ask(seen, Prompts(boxes=BOXES[:1]), several=True)
    torch.testing.assert_close(one.logits[0], answer.logits[0], atol=1e-4, rtol=1e-4)
    assert sam.ask(seen, Prompts(masks=torch.randn(1, 30, 40))).iou.shape == (1, 1)
    with pytest.raises(MissingHook, match="SAM 2"):
        sam_space(sam)
