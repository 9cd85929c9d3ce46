"""Which file is read, and what is refused; the pictures are compared in tests/contract/test_pipeline_parity.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diptych.backbones.diffusion.load import load_diffusion
from diptych.backbones.diffusion.lora import USUAL, add_lora, lora_file
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import DataError, NotAvailable, UsageError
from diptych.testing.backbones import small_clip
from tests.backbones.diffusion.test_pipeline_folders import small_pipeline


def test_the_file_is_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        lora_file(tmp_path / "none")
    (tmp_path / "weights.bin").touch()
    for path in (tmp_path, tmp_path / "weights.bin"):
        with pytest.raises(DataError, match=r"holds no \.safetensors files"):
            lora_file(path)
    (tmp_path / "a.safetensors").touch()
    assert lora_file(tmp_path) == lora_file(tmp_path / "a.safetensors") == tmp_path / "a.safetensors"
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(DataError, match="holds 2"):
        lora_file(tmp_path)
    (tmp_path / USUAL).touch()
    assert lora_file(tmp_path) == tmp_path / USUAL


@pytest.mark.filterwarnings("ignore")
def test_what_changes_nothing_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    small_pipeline("sd1").save_pretrained(tmp_path / "sd1")
    pipeline = load_pipeline(tmp_path / "sd1")
    before = pipeline.fingerprint
    for name, tensors in (
        ("nothing", {"x": torch.zeros(1)}),
        ("other", {f"transformer.blocks.0.to_q.lora_{k}.weight": torch.zeros(2, 2) for k in "AB"}),
        ("wide", {f"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_{k}.weight": torch.zeros(5, 5)
                  for k in "AB"}),
    ):  # fmt: skip
        file = tmp_path / f"{name}.safetensors"
        save_file(tensors, file)
        with pytest.raises(DataError, match="trained on its layout"):
            add_lora(pipeline, file)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no LoRA"):
        add_lora(pipeline, broken)
    assert load_pipeline(tmp_path / "sd1").fingerprint == before
    with pytest.raises(UsageError, match="small denoiser has no LoRA"):
        load_diffusion("small", small_clip(), lora=tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_changes_of_text_encoders_are_named_where_peft_is_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    import diffusers

    def refuse(self: object, *given: object, **named: object) -> None:
        raise ValueError("The version of PEFT you are using is not compatible, please use a version >= 99")

    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "load_lora_weights", refuse)
    small_pipeline("sd1").save_pretrained(tmp_path / "sd1")
    save_file({"text_encoder.x.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(NotAvailable, match="changes text encoders too"):
        add_lora(load_pipeline(tmp_path / "sd1"), tmp_path / "a.safetensors")
