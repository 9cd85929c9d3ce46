"""SAM's released layout, small: read, equal to the library's model with the same weights, and spoiled."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from diptych.backbones.mask_models.point_grid import PointGrid
from diptych.backbones.mask_models.sam_files import read_sam
from diptych.backbones.sources.promptable import load_promptable
from diptych.backbones.sources.proposers import load_proposer
from diptych.backbones.sources.vision import load_vision
from diptych.core import DataError, Prompts, UsageError
from tests.support.checkpoints import gap
from tests.support.sam import small_sam

State = dict[str, Tensor]
PLACES = (
    ("vision_encoder.pos_embed", "image_encoder.pos_embed"),
    ("vision_encoder.patch_embed.projection", "image_encoder.patch_embed.proj"),
    ("vision_encoder.neck.conv1", "image_encoder.neck.0"), ("vision_encoder.neck.layer_norm1", "image_encoder.neck.1"),
    ("vision_encoder.neck.conv2", "image_encoder.neck.2"), ("vision_encoder.neck.layer_norm2", "image_encoder.neck.3"),
    ("vision_encoder.layers", "image_encoder.blocks"),
    ("shared_image_embedding.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    ("prompt_encoder.point_embed", "prompt_encoder.point_embeddings"),
    ("prompt_encoder.mask_embed.conv1", "prompt_encoder.mask_downscaling.0"),
    ("prompt_encoder.mask_embed.layer_norm1", "prompt_encoder.mask_downscaling.1"),
    ("prompt_encoder.mask_embed.conv2", "prompt_encoder.mask_downscaling.3"),
    ("prompt_encoder.mask_embed.layer_norm2", "prompt_encoder.mask_downscaling.4"),
    ("prompt_encoder.mask_embed.conv3", "prompt_encoder.mask_downscaling.6"),
    ("mask_decoder.upscale_conv1", "mask_decoder.output_upscaling.0"),
    ("mask_decoder.upscale_layer_norm", "mask_decoder.output_upscaling.1"),
    ("mask_decoder.upscale_conv2", "mask_decoder.output_upscaling.3"),
    ("mask_decoder.transformer.layer_norm_final_attn", "mask_decoder.transformer.norm_final_attn"),
)  # fmt: skip


def theirs(name: str) -> str:
    """Return the authors' name of one of transformers' tensors."""
    name = next((name.replace(ours, other, 1) for ours, other in PLACES if name.startswith(ours)), name)
    if ".blocks." in name or "mask_decoder.transformer.layers." in name:
        return name.replace(".layer_norm", ".norm")
    if "_mlps." in name or "iou_prediction_head." in name:
        for ours, other in ((".layers.0.", ".layers.1."), (".proj_in.", ".layers.0."), (".proj_out.", ".layers.2.")):
            if ours in name:
                return name.replace(ours, other)
    return name


def model(seed: int = 3) -> Any:
    """Return the small SAM with the heads and the norms of the authors' decoder, of which tensors say nothing."""
    import transformers

    first = small_sam(seed)
    config = first.config.to_dict()
    config["mask_decoder_config"] |= {"layer_norm_eps": 1e-5, "num_attention_heads": 8}
    with torch.random.fork_rng(devices=[]):
        out: Any = transformers.SamModel(transformers.SamConfig(**config))
    out.load_state_dict(first.state_dict())
    return out.eval()


def released(seed: int = 3) -> State:
    state = {n: t for n, t in small_sam(seed).state_dict().items() if "shared_embedding" not in n}
    return {theirs(name): tensor for name, tensor in state.items()}


def test_a_released_file_draws_as_the_librarys_model(tmp_path: Path) -> None:
    torch.save(released(), tmp_path / "sam.pth")
    model().save_pretrained(tmp_path / "folder")
    generator = torch.random.get_rng_state()
    file, folder = load_promptable(str(tmp_path / "sam.pth")), load_promptable(str(tmp_path / "folder"))
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert file.fingerprint == folder.fingerprint
    photo = Image.effect_noise((40, 30), 90).convert("RGB")
    asks = Prompts(points=torch.tensor([[[20.0, 11]]]), boxes=torch.tensor([[2.0, 3, 20, 25]]))
    for several in (False, True):
        one, other = (masks.ask(masks.see(photo), asks, several=several) for masks in (file, folder))
        assert gap(one.logits.detach(), other.logits.detach()) <= 1e-5
        assert gap(one.iou.detach(), other.iou.detach()) <= 1e-5


def test_the_file_serves_wherever_a_folder_does(tmp_path: Path) -> None:
    torch.save({"model": released()}, tmp_path / "sam.pth")
    assert isinstance(load_proposer(str(tmp_path / "sam.pth")), PointGrid)
    x = torch.rand(1, 3, 64, 64)
    encoder = load_vision(f"sam:local:{tmp_path / 'sam.pth'}").encoders["image"]
    with torch.no_grad():
        assert encoder.encode(x).shape == (1, 32)


TURNED = "mask_decoder.transformer.layers.1.mlp.lin1.weight"
SPOILS: list[tuple[Callable[[State], Any], str]] = [
    (lambda s: s.update({"image_encoder.blocks.1.norm3.bias": s.pop("image_encoder.blocks.1.norm2.bias")}),
     r"1 missing \(image_encoder\.blocks\.1\.norm2\.bias\); 1 unexpected \(image_encoder\.blocks\.1\.norm3\.bias\)"),
    (lambda s: s.pop("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
     r"sam\.pth lacks prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix"),
    (lambda s: s.update({TURNED: s[TURNED].T}), rf"1 of another shape \({TURNED}\)"),
    (lambda s: s.update({"image_encoder.blocks.0.attn.rel_pos_h": s["image_encoder.blocks.0.attn.rel_pos_h"].T}),
     r"1 of another shape \(image_encoder\.blocks\.0\.attn\.rel_pos_h\)"),
    (lambda s: s.pop("mask_decoder.iou_prediction_head.layers.1.weight"),
     r"1 missing \(mask_decoder\.iou_prediction_head\.layers\.1\.weight\)"),
    (lambda s: s.update({"image_encoder.pos_embed": s["image_encoder.pos_embed"][0]}),
     r"image_encoder\.pos_embed of the shape \(8, 8, 32\), which should have 4 axes"),
    (lambda s: s["image_encoder.neck.0.weight"].fill_(float("nan")), r"image_encoder\.neck\.0\.weight"),
    (lambda s: [s.pop(n) for n in list(s) if "rel_pos" in n], r"lacks image_encoder\.blocks\.0\.attn\.rel_pos_h"),
    (lambda s: [s.pop(n) for n in list(s) if "blocks" in n], "no tensor is called image_encoder.blocks"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "said"), SPOILS)
def test_a_spoiled_file_is_refused_by_the_authors_names(
    spoil: Callable[[State], Any], said: str, tmp_path: Path
) -> None:
    state = {name: tensor.clone() for name, tensor in released().items()}
    spoil(state)
    torch.save(state, tmp_path / "sam.pth")
    with pytest.raises(DataError, match=said):
        read_sam(tmp_path / "sam.pth")


def test_a_sam_2_and_a_pickle_of_more_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.ones(1)}}, tmp_path / "sam2.pt")
    with pytest.raises(UsageError, match="holds a SAM 2 in its authors' layout, which is not read: give it in"):
        read_sam(tmp_path / "sam2.pt")
    torch.save({"model": released(), "args": argparse.Namespace(a=1)}, tmp_path / "trained.pth")
    with pytest.raises(UsageError, match="more than tensors, which can run code: take them out once"):
        read_sam(tmp_path / "trained.pth")
    with pytest.raises(UsageError, match="There is no folder or file"):
        load_promptable(str(tmp_path / "absent.pth"))
