"""Files of generators as their authors release them, small: read without running anything, or refused by name."""

from __future__ import annotations

import argparse
import pickle
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diptych.backbones.generators.files import parts_alone
from diptych.backbones.generators.load import load_generator, load_stylegan2
from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import DataError, UsageError
from tests.backbones.generators.test_stylegan2 import GENERATOR, nvidia, weights

MEAN = torch.arange(8.0)
KERNELS = {"convs.0.conv.blur.kernel": torch.ones(4, 4), "to_rgbs.0.upsample.kernel": torch.ones(4, 4)}


def pictures(generator: StyleGAN2) -> Tensor:
    return generator.synthesise(generator.sample(2, torch.Generator().manual_seed(0)))


def written(content: object, folder: Path, name: str = "g.pt", **how: Any) -> Path:
    torch.save(content, folder / name, **how)
    return folder / name


def whole(state: Mapping[str, Tensor]) -> dict[str, object]:
    """A file of e4e or pSp, whose decoder is the generator."""
    encoder = {"encoder.input_layer.0.weight": torch.ones(2)}
    named = {f"decoder.{n}": t for n, t in state.items()}
    return {"state_dict": {**encoder, **named}, "latent_avg": MEAN.expand(6, 8).clone(), "opts": {"stylegan_size": 16}}


@pytest.mark.parametrize("layout", ["nested", "flat", "decoder", "refined", "before 1.6", "2-ada"])
def test_every_layout_draws_the_same(layout: str, tmp_path: Path) -> None:
    state = {**weights(), **KERNELS}
    refined = {**state, "lambdas.0": torch.tensor(0.1), "affine_mlps.0.0.weight": torch.ones(8, 8)}
    content: dict[str, Any] = {
        "nested": {"g_ema": state, "latent_avg": MEAN},
        "flat": state,
        "decoder": whole(state),
        "refined": whole(refined),
        "before 1.6": {"g_ema": state, "latent_avg": MEAN},
        "2-ada": {"g_ema": nvidia(weights()), "conv_clamp": None},
    }
    path = written(content[layout], tmp_path, _use_new_zipfile_serialization=layout != "before 1.6")
    generator, inverter = load_generator(str(path))
    assert inverter is None
    assert isinstance(generator, StyleGAN2)
    assert torch.equal(pictures(generator), pictures(GENERATOR))
    if layout in ("nested", "decoder", "refined", "before 1.6"):
        assert torch.equal(generator.weights["latent_avg"], MEAN)
    else:
        assert not torch.equal(generator.weights["latent_avg"], MEAN)


def test_the_limit_of_2_ada_is_read(tmp_path: Path) -> None:
    read = load_stylegan2(written({"g_ema": nvidia(weights()), "conv_clamp": 256}, tmp_path))
    assert float(read.weights["conv_clamp"]) == 256
    bare = load_stylegan2(written({"g_ema": nvidia(weights()), "conv_clamp": None}, tmp_path))
    assert "conv_clamp" not in bare.weights


def test_a_tensor_that_is_renamed_dropped_or_turned_is_named(tmp_path: Path) -> None:
    state = weights()
    renamed = {n.replace("convs.1.conv.weight", "convs.1.weight"): t for n, t in state.items()}
    dropped = {n: t for n, t in state.items() if n != "to_rgbs.1.conv.modulation.bias"}
    turned = {**state, "convs.0.conv.weight": state["convs.0.conv.weight"].transpose(1, 2)}
    for tensors, named in ((renamed, "convs.1.conv.weight"), (dropped, "to_rgbs.1.conv"), (turned, "convs.0.conv")):
        for content in ({"g_ema": tensors}, whole(tensors)):
            with pytest.raises(DataError, match=named):
                load_stylegan2(written(content, tmp_path))
    with pytest.raises(DataError, match=r"StyleGAN2 has not: convs\.9\.x"):
        load_stylegan2(written({"g_ema": {**state, "convs.9.x": torch.ones(1)}}, tmp_path))


def test_bad_files_get_a_sentence(tmp_path: Path) -> None:
    cases: dict[str, object] = {
        "no generator: no name begins with decoder": {"state_dict": {"encoder.x": torch.ones(1)}},
        "holds a, no dense tensor": {"a": 1},
        "holds b, no dense tensor": {"b": torch.eye(2).to_sparse()},
        "holds state_dict, no dense tensor": {"state_dict": [torch.ones(1)]},
        "no tensors by name": torch.ones(3),
    }
    for message, content in cases.items():
        with pytest.raises(DataError, match=message):
            load_stylegan2(written(content, tmp_path))
    (tmp_path / "g.pt").write_bytes(b"not at all")
    with pytest.raises((DataError, UsageError), match=r"g\.pt"):
        load_stylegan2(tmp_path / "g.pt")
    with pytest.raises(UsageError, match="no weight file"):
        load_generator(str(tmp_path / "none.pt"))


def test_a_pickle_of_2_ada_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "ffhq.pkl"
    path.write_bytes(pickle.dumps(_Runs(tmp_path / "ran")))
    with pytest.raises(
        UsageError, match=r"runs code .* in a checkout of stylegan2-ada-pytorch, by python -c .*conv_clamp"
    ):
        load_generator(str(path))
    assert not (tmp_path / "ran").exists()


class _Runs:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path, bytes]]:
        return Path.write_bytes, (self.path, b"")


def test_a_training_is_taken_apart_by_the_command_that_its_refusal_names(tmp_path: Path) -> None:
    path = written({"g_ema": weights(), "g": weights(), "args": argparse.Namespace(lr=1)}, tmp_path)
    with pytest.raises(UsageError, match="holds more than tensors") as refused:
        load_stylegan2(path)
    assert parts_alone(path) in str(refused.value)
    command = shlex.split(parts_alone(path))
    subprocess.run([sys.executable, *command[1:]], check=True, timeout=60)
    assert torch.equal(pictures(load_stylegan2(tmp_path / "g.tensors.pt")), pictures(GENERATOR))
