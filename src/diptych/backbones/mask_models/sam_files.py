"""SAM from the one file in which its authors released it, whose shapes state the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mode
from typing import Any

import torch
from torch import Tensor

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.released import part_table
from diptych.backbones.released_checks import misfit, refuse_not_finite, remedy
from diptych.backbones.released_names import spelling, translated, wrapper_of
from diptych.backbones.weights import read_state
from diptych.core import DataError, UsageError

_TIED = "prompt_encoder.shared_embedding.positional_embedding"
_CODES = "shared_image_embedding.positional_embedding"
_STATING = {
    "vision_encoder.pos_embed": 4, "vision_encoder.patch_embed.projection.weight": 4,
    "vision_encoder.layers.0.attn.rel_pos_h": 2, "vision_encoder.layers.0.mlp.lin1.weight": 2,
    "vision_encoder.neck.conv1.weight": 4, _CODES: 2,
    "prompt_encoder.mask_embed.conv3.weight": 4, "mask_decoder.mask_tokens.weight": 2,
    "mask_decoder.transformer.layers.0.mlp.lin1.weight": 2, "mask_decoder.iou_prediction_head.proj_in.weight": 2,
}  # fmt: skip
"""Tensors whose sizes the architecture is read from -> their axes."""


def read_sam(path: Path) -> SamMasks:
    """Read a SAM in its authors' layout, such as sam_vit_b_01ec64.pth.

    Args:
        path: .safetensors, or a torch file of tensors.

    Raises:
        UsageError: there is no such file, it holds more than tensors, or a SAM 2.
        DataError: it is damaged, holds no SAM, or tensors are missing, unexpected, of another shape or not finite; the
            first three of each are named.
    """
    import transformers

    read, by = read_state(path, allow_pickle=None), part_table("sam")
    if any(name.startswith("image_encoder.trunk.") for name in read):
        raise UsageError(
            f"{path} holds a SAM 2 in its authors' layout, which is not read: give it in transformers' format, such as "
            f"hf:facebook/sam2-hiera-tiny."
        )
    if not any(name.startswith("image_encoder.blocks.") for name in read):
        raise DataError(
            f"{path} holds no SAM in its authors' layout, since no tensor is called image_encoder.blocks...: give a "
            f"file such as sam_vit_b_01ec64.pth, or a folder in transformers' format."
        )
    state, origins = translated(read, by, path)
    names = spelling(by, origins, path, wrapper_of(read))
    for name, axes in _STATING.items():
        if name not in state:
            raise DataError(f"{path} lacks {names.absent(name)}: it is damaged, so get it again.")
        if state[name].ndim != axes:
            raise DataError(
                f"{path} has {names.held(name)} of the shape {tuple(state[name].shape)}, which should have {axes} "
                f"axes: it is damaged, so get it again."
            )
    with torch.device("meta"):  # no weights are drawn, and no generator moves
        model = transformers.SamModel(transformers.SamConfig(**_architecture(state)))
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name != _TIED}
    if complaints := misfit(state, wanted, names):
        do = remedy(state, wanted, "give a file such as sam_vit_b_01ec64.pth")
        raise DataError(f"{path} does not fit SAM, tensors {complaints}: {do}.")
    refuse_not_finite(state, path, names)
    state = {name: tensor.float().clone() for name, tensor in state.items()}  # where they lie decides last bits
    model.load_state_dict({**state, _TIED: state[_CODES]}, assign=True)
    return SamMasks(model)


def _architecture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what ``SamConfig`` takes. Blocks attend to all cells where their table of distances is that long."""
    size = {name: tuple(state[name].shape) for name in _STATING}
    _, grid, _, width = size["vision_encoder.pos_embed"]
    patch = size["vision_encoder.patch_embed.projection.weight"][-1]
    tables = {n: tuple(t.shape) for n, t in state.items() if ".attn.rel_pos_" in n and t.ndim == 2}
    count = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("vision_encoder.layers."))
    whole = [
        i for i in range(count) if tables.get(f"vision_encoder.layers.{i}.attn.rel_pos_h", (0,))[0] == 2 * grid - 1
    ]
    windows = [length for length, _ in tables.values() if length != 2 * grid - 1]
    head = mode(wide for _, wide in tables.values())
    sizes = {"image_size": grid * patch, "patch_size": patch}
    decoder = size["mask_decoder.mask_tokens.weight"]
    return {
        "vision_config": {
            **sizes, "hidden_size": width, "num_hidden_layers": count, "num_attention_heads": max(1, width // head),
            "mlp_dim": size["vision_encoder.layers.0.mlp.lin1.weight"][0], "global_attn_indexes": whole,
            "output_channels": size["vision_encoder.neck.conv1.weight"][0], "num_pos_feats": size[_CODES][1],
            "window_size": (mode(windows) + 1) // 2 if windows else 14,
        },
        "prompt_encoder_config": {
            **sizes, "hidden_size": decoder[1],
            "mask_input_channels": size["prompt_encoder.mask_embed.conv3.weight"][1],
        },
        "mask_decoder_config": {
            "hidden_size": decoder[1], "num_multimask_outputs": decoder[0] - 1, "layer_norm_eps": 1e-5,
            "mlp_dim": size["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
            "iou_head_hidden_dim": size["mask_decoder.iou_prediction_head.proj_in.weight"][0],
        },
    }  # fmt: skip
