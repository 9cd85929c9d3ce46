"""Files beside a released one: DN-CBM's dictionary with its probe and its words, small, by the authors' names."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones.released import row
from diptych.backbones.released_beside import tensor_beside, words_beside
from diptych.core import Backbone, ClassNames, DataError, Kit, Run, UsageError
from diptych.features import portable
from diptych.methods.classify.dn_cbm import FittedDNCBM
from diptych.tasks.released import convert
from tests.support.pictures import Pictures, picture
from tests.support.small_clip import small_clip

NAMES = ClassNames(("cat", "red barn"))
WORDS = ("dog", "barn", "sky", "dog", "snow")
N, M = 12, 5
"""Dimensions of the small CLIP, and concepts."""
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp("clip") / "quick", "vit-quickgelu")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def dictionary() -> State:
    bias = 0.1 * drawn(1, N)
    return {
        "tied_bias": bias, "pre_encoder_bias._bias_reference": bias, "post_decoder_bias._bias_reference": bias,
        "encoder._weight": drawn(1, M, N), "encoder._bias": drawn(1, M, seed=2),
        "decoder._weight": normalize(drawn(1, N, M, seed=3), dim=1),
    }  # fmt: skip


def written(folder: Path, state: State | None = None) -> Path:
    """Write the three files of the authors, and return that of the dictionary."""
    torch.save(dictionary() if state is None else state, folder / "sparse_autoencoder_final.pt")
    probe = {"model": {"weight": drawn(2, M, seed=4)}, "epoch": 199}
    torch.save(probe, folder / "on_concepts_final_lr0.01_bs512_epo200_nobias_clCE_spL1_spl0.1.pt")
    (folder / "concept_names.csv").write_text("".join(f"{k},{word}\n" for k, word in enumerate(WORDS)))
    return folder / "sparse_autoencoder_final.pt"


def test_the_dictionary_with_its_probe_and_words(quick: Backbone, tmp_path: Path) -> None:
    file = written(tmp_path)
    out = convert("dn-cbm", file, tmp_path / "out", Run(), backbone=lambda: quick, classes=NAMES)
    assert "diptych classify PHOTOS --model" in out.how
    fitted = portable.load(tmp_path / "out", Kit.of(quick))
    assert isinstance(fitted, FittedDNCBM)
    photos, state = Pictures(tuple(picture(k, k) for k in range(3))), dictionary()
    with torch.no_grad():
        x = quick.image.encode(quick.image.inputs(list(photos.images)))
        texts = normalize(quick.text.encode(quick.text.inputs(list(dict.fromkeys(WORDS)))), dim=-1)
    strengths = (x - state["tied_bias"]) @ state["encoder._weight"][0].T + state["encoder._bias"]
    expected = strengths.clamp_min(0) @ drawn(2, M, seed=4).T
    assert torch.allclose(fitted.scores(photos, Run()).values, expected, atol=1e-5)
    nearest = (texts @ state["decoder._weight"][0]).argmax(dim=0)
    assert fitted.names == tuple(tuple(dict.fromkeys(WORDS))[k] for k in nearest.tolist())


SPOILS: list[tuple[Callable[[State], object], str]] = [
    (lambda s: s.update({"encoder._weigh": s.pop("encoder._weight")}),
     r"1 missing \(encoder\._weight\); 1 unexpected \(encoder\._weigh\)"),
    (lambda s: s.pop("tied_bias"), r"1 missing \(tied_bias\)"),
    (lambda s: s.update({"decoder._weight": s["decoder._weight"].mT}), r"another shape \(decoder\._weight\)"),
    (lambda s: s.pop("encoder._bias"), r"missing \(encoder\._bias\)"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "said"), SPOILS)
def test_a_spoiled_dictionary_is_refused(
    spoil: Callable[[State], object], said: str, quick: Backbone, tmp_path: Path
) -> None:
    state = dictionary()
    spoil(state)
    with pytest.raises(DataError, match=said):
        convert("dn-cbm", written(tmp_path, state), tmp_path / "out", Run(), backbone=lambda: quick, classes=NAMES)
    assert not (tmp_path / "out").exists()


def test_files_that_are_missing_twice_there_or_damaged_are_named(tmp_path: Path) -> None:
    one, file = row("dn-cbm")[1], tmp_path / "sparse_autoencoder_final.pt"
    pattern = one.beside["probe"]
    with pytest.raises(UsageError, match=r"dn-cbm needs on_concepts_final_\*\.pt of the authors beside"):
        tensor_beside(one, file, pattern)
    torch.save({"model": {"weight": drawn(2, M)}, "args": argparse.Namespace(a=1)}, tmp_path / "on_concepts_final_a.pt")
    with pytest.raises(UsageError, match=r"take them out once.*on_concepts_final_a\.tensors\.pt"):
        tensor_beside(one, file, pattern)
    torch.save({"weight": drawn(2, M)}, tmp_path / "on_concepts_final_a.tensors.pt")
    assert torch.equal(tensor_beside(one, file, pattern), drawn(2, M))
    torch.save({"a": drawn(1), "b": drawn(1)}, tmp_path / "on_concepts_final_b.pt")
    with pytest.raises(UsageError, match="has several files"):
        tensor_beside(one, file, pattern)
    (tmp_path / "on_concepts_final_a.pt").unlink()
    (tmp_path / "on_concepts_final_a.tensors.pt").unlink()
    with pytest.raises(DataError, match=r"holds 2 tensors \(a, b\), and dn-cbm needs exactly one"):
        tensor_beside(one, file, pattern)
    np.save(tmp_path / "fs3.npy", np.ones((2, 3)))
    assert torch.equal(tensor_beside(one, file, "fs3.npy"), torch.ones(2, 3))
    (tmp_path / "fs3.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="not a readable array of numbers"):
        tensor_beside(one, file, "fs3.npy")


def test_words_that_are_absent_or_damaged(tmp_path: Path) -> None:
    one, file = row("dn-cbm")[1], tmp_path / "sparse_autoencoder_final.pt"
    assert words_beside(one, file) == {}
    (tmp_path / "concept_names.csv").write_text('0,dog\n1,"ice, cream"\n\n2,dog\n')
    assert words_beside(one, file) == {"vocabulary": ("dog", "ice, cream")}
    for text, said in (("0,dog\ncat\n", r"has 'cat' in line 2"), ("a,dog\n", "has 'a,dog' in line 1")):
        (tmp_path / "concept_names.csv").write_text(text)
        with pytest.raises(DataError, match=said):
            words_beside(one, file)
    (tmp_path / "concept_names.csv").write_bytes(b"0,\xff\xfe\n")
    with pytest.raises(DataError, match="is not a file of words"):
        words_beside(one, file)
