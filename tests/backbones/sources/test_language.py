"""Spaces with a language model come back from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.sources.language import ADAPTOR
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import load_parts, save
from diptych.core import DataError, UsageError
from tests.backbones.test_language_space import space
from tests.backbones.test_language_text import words
from tests.support.checkpoints import SENTENCES
from tests.support.language import tiny_llama
from tests.support.small_clip import small_clip


def test_all_three_parts_and_others_come_back(tmp_path: Path) -> None:
    base = small_clip(tmp_path / "clip")
    language = LanguageText.of(tiny_llama(20), words(tmp_path / "words"), bidirectional=False, limit=40)
    made = LanguageSpace(base, language, Adaptor(16, base.spec.dim, 1))
    save(made, tmp_path / "model", {"head": torch.nn.Linear(2, 2)})
    again = load(f"local:{tmp_path / 'model'}", offline=True)
    assert isinstance(again, LanguageSpace)
    assert again.spec.name == f"local:{tmp_path / 'model'}"
    assert (again.language.limit, again.language.bidirectional) == (40, False)
    with torch.no_grad():
        one, two = (s.text.encode(s.text.inputs(SENTENCES)) for s in (made, again))
    torch.testing.assert_close(one, two)
    assert set(load_parts(tmp_path / "model")) == {"head"}
    save(again, tmp_path / "twice")
    wrong = Adaptor(16, base.spec.dim + 1, 1)
    from safetensors.torch import save_file

    save_file(wrong.state_dict(), tmp_path / "twice" / ADAPTOR)
    with pytest.raises(DataError, match="does not fit the other parts"):
        load(f"local:{tmp_path / 'twice'}", offline=True)


def test_other_language_models_have_no_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no format on disk"):
        save(space(), tmp_path / "model")
    assert not (tmp_path / "model").exists()
