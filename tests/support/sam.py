"""A small SAM of random weights, and its shaken parameters."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from tests.support.towers import randomised

SIDE, PATCH = 64, 8


def small_sam(seed: int = 0) -> Any:
    """Return a SamModel for 64 pixels with two windowed blocks, whose windows need padding, and a global one."""
    sizes = {"image_size": SIDE, "patch_size": PATCH}
    config = hf.SamConfig(
        vision_config={
            **sizes, "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
            "num_pos_feats": 8, "window_size": 3, "global_attn_indexes": [2], "mlp_dim": 64,
        },
        prompt_encoder_config={**sizes, "hidden_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomised(hf.SamModel(config), seed)
