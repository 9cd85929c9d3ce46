"""Folders in transformers' format: a weight that is missing is never drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, SamConfig, SamModel

from diptych.backbones.causal import load_causal
from diptych.backbones.sources.promptable import model_in
from diptych.backbones.transformers_weights import read_model
from diptych.core import DataError

TENSOR = "transformer.h.0.mlp.c_fc.weight"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    return tmp_path


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_all_weights_are_those_of_the_file(folder: Path) -> None:
    state = read_model(GPT2LMHeadModel, folder).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in load_file(folder / "model.safetensors").items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop(TENSOR), r"tensors 1 missing \(transformer.h.0.mlp.c_fc.weight\): get both from the same"),
        (lambda t: t.update({TENSOR: t[TENSOR].T.contiguous()}), r"c_fc.weight, \(32, 8\) and not \(8, 32\)\)"),
        (lambda t: t[TENSOR].fill_(-torch.inf), r"holds numbers .* not finite \(transformer.h.0.mlp.c_fc.weight\)"),
        (lambda t: t[TENSOR].view(-1)[:1].fill_(torch.nan), r"not finite \(transformer.h.0.mlp.c_fc.weight\)"),
    ],
)
def test_a_weight_that_does_not_fit_is_named(folder: Path, change: Callable[..., object], says: str) -> None:
    changed(folder, change)
    with pytest.raises(DataError, match=says):
        load_causal(str(folder))


def test_parts_that_a_class_leaves_out_may_be_there(folder: Path) -> None:
    changed(folder, lambda t: t.update({"head.weight": torch.ones(2)}))
    read_model(GPT2LMHeadModel, folder)
    with pytest.raises(DataError, match=r"tensors 1 unexpected \(head.weight\)"):
        read_model(GPT2LMHeadModel, folder, exact=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html>Log in</html>", "model.safetensors is a web page, not weights"),
        (POINTER, "has git-lfs pointers in the place of model.safetensors: run 'git lfs pull' there"),
        (
            b"\x10\x00\x00\x00\x00\x00\x00\x00{",
            r"transformers cannot load .* as GPT2LMHeadModel .* check its weights and config.json",
        ),
    ],
)
def test_a_file_that_is_no_weights_is_said_to_be_none(folder: Path, content: bytes, says: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_model(GPT2LMHeadModel, folder)


def test_mask_models_have_all_their_weights(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "mlp_dim": 8}
    config = SamConfig(
        vision_config={**small, "output_channels": 8, "image_size": 32, "global_attn_indexes": [0]},
        prompt_encoder_config={"hidden_size": 8, "image_size": 32},
        mask_decoder_config={**small, "iou_head_hidden_dim": 8},
    )
    SamModel(config).save_pretrained(tmp_path)
    model_in(tmp_path, "SamModel")
    changed(tmp_path, lambda t: t.pop("mask_decoder.iou_token.weight"))
    with pytest.raises(DataError, match=r"1 missing \(mask_decoder.iou_token.weight\)"):
        model_in(tmp_path, "SamModel")
