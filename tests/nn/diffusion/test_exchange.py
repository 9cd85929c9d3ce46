from __future__ import annotations

from pathlib import Path

import pytest

from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.core import UsageError
from diptych.nn.diffusion.exchange import exchanged, places_of
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> SmallDiffusion:
    return random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / Path("vit")))


def test_tokens_outside_the_exchanged_words_stand_for_each_other(diffusion: SmallDiffusion) -> None:
    source, target = "a red circle on ice", "a very blue star on ice"
    found = exchanged(diffusion, source, target)
    assert (found.gone, found.fresh) == ("red circle", "very blue star")
    ids = [diffusion.words.ids([text])[0].tolist() for text in (target, source)]
    assert all(ids[0][i] == ids[1][j] for i, j in found.columns.items())
    assert sorted([*found.columns, *found.new]) == list(range(len(ids[0])))
    assert sorted([*found.columns.values(), *found.old]) == list(range(len(ids[1])))


def test_the_occurrence_that_is_exchanged_is_taken(diffusion: SmallDiffusion) -> None:
    words = ["a", "red", "star", "and", "a", "red", "cup"]
    first, second = (places_of(diffusion, words, slice(i, i + 1)) for i in (1, 5))
    assert (*first, *second) == diffusion.places(" ".join(words), "red")
    assert exchanged(diffusion, " ".join(words), "a red star and a blue cup").old == second


def test_limits(diffusion: SmallDiffusion) -> None:
    same = exchanged(diffusion, "a red star", "a  red star")
    assert (same.gone, same.old, same.new) == ("", (), ())
    assert all(i == j for i, j in same.columns.items())
    less = exchanged(diffusion, "a red star", "a star")
    assert (less.gone, less.fresh, less.new) == ("red", "", ())
    with pytest.raises(UsageError, match="only adds words"):
        exchanged(diffusion, "a star", "a red star")


def test_texts_of_several_chunks_are_refused(diffusion: SmallDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    def places(self: SmallDiffusion, text: str, words: str) -> tuple[int, ...]:
        return (1, 2, 5) if words == text else (2,)  # of a pipeline whose chunks hold two tokens

    monkeypatch.setattr(SmallDiffusion, "places", places)
    with pytest.raises(UsageError, match="'a blue cat' is longer than what this denoiser reads at once"):
        exchanged(diffusion, "a blue cat", "a red cat")
