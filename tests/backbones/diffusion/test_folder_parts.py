"""Files of a part, and what is no pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diptych.backbones.diffusion.folder_parts import layout_of, variant_of
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.core import DataError, UsageError


def test_plain_files_come_before_variants_and_fp16_before_others(tmp_path: Path) -> None:
    for name, chosen in (("non_ema", "non_ema"), ("fp16", "fp16")):
        (tmp_path / f"diffusion_pytorch_model.{name}.safetensors").touch()
        assert variant_of(tmp_path) == chosen
    (tmp_path / "diffusion_pytorch_model-00001-of-00002.safetensors").touch()
    assert variant_of(tmp_path) is None
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    for shard in ("../other/model.safetensors", "diffusion_pytorch_model.bin"):
        index.write_text(json.dumps({"weight_map": {"x": shard}}))
        with pytest.raises(DataError, match="no safetensors beside it"):
            variant_of(tmp_path)


def test_several_variants_and_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match="no weights in safetensors"):
        variant_of(tmp_path)
    for name in ("ema", "non_ema"):
        (tmp_path / f"model.{name}.safetensors").touch()
    with pytest.raises(DataError, match="several variants, ema, non_ema"):
        variant_of(tmp_path)


def test_what_is_no_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        load_pipeline(tmp_path / "none")
    with pytest.raises(DataError, match="no pipeline in the layout of Stable Diffusion"):
        load_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(DataError, match="holds no JSON object"):
        load_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (("unet", "text_encoder"), "StableDiffusionPipeline"),
        (("unet", "text_encoder", "text_encoder_2"), "StableDiffusionXLPipeline"),
        (("transformer", "vae", "text_encoder", "text_encoder_2"), "StableDiffusion3Pipeline"),
    ],
)
def test_a_folder_without_an_index_is_known_by_its_parts(tmp_path: Path, folders: tuple[str, ...], name: str) -> None:
    for folder in (*folders, "scheduler"):
        (tmp_path / folder).mkdir()
    layout, index = layout_of(tmp_path)
    assert (layout.name, layout.flow, index) == (name, name == "StableDiffusion3Pipeline", {})
    (tmp_path / folders[0]).rmdir()
    with pytest.raises(DataError, match="has no"):
        layout_of(tmp_path)
