from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.sources.load import load
from diptych.nn.text.random_sentences import random_sentences
from diptych.train.pair import token_ids
from tests.support.checkpoints import transformers_folder
from tests.train.test_pair import small


def test_random_sentences_hold_no_special_token() -> None:
    space = small()
    ids = random_sentences(space, 300, 10, torch.Generator().manual_seed(0))
    assert isinstance(ids, torch.Tensor)
    real = space.text.inputs(["a"])
    assert set(ids[:, 0].tolist()) == {int(real[0, 0])}  # type: ignore[index]
    assert set(ids[:, 11].tolist()) == {49407}
    assert not (ids[:, 1:11] >= 49406).any()
    assert not (ids[:, 1:11] == space.spec.pad).any()


@pytest.mark.parametrize("family", ["siglip", "altclip"])
def test_random_sentences_are_of_the_text_towers_own_vocabulary(family: str, tmp_path: Path) -> None:
    """These have more positions than tokens, and SigLIP no start token."""
    space = load(f"local:{transformers_folder(tmp_path / family, family)}", offline=True)
    ids = token_ids(random_sentences(space, 300, 4, torch.Generator().manual_seed(0)))
    table = space.tower("text").token_table  # type: ignore[attr-defined]
    assert int(ids.max()) < len(table)
    empty = token_ids(space.text.inputs([""]))[0].tolist()
    start = int(family != "siglip")
    assert ids[:, :start].unique().tolist() == empty[:start]
    assert set(ids[:, start + 4].tolist()) == {empty[start]}
    assert not set(ids[:, start : start + 4].flatten().tolist()) & set(empty)
