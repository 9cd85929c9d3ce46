from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.core import Column, DataError, Evidence, Kit, MissingEvidence, MissingHook, MissingPart, Run, Table
from diptych.features import portable
from diptych.methods.caption import clip_reward as m
from diptych.methods.caption.clip_reward import ClipReward
from diptych.nn.text.vocabulary import Vocabulary
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SMALL = {"lm_width": 16, "layers": 1, "epochs": 1, "batch": 4, "rewarded": 2, "reward_batch": 4, "limit": 6}


def walls(count: int, seed: int) -> Table[Any]:
    """Pictures of one colour; of three annotators one names it."""
    rng = np.random.default_rng(seed)
    names = [list(COLOURS)[i % len(COLOURS)] for i in range(count)]
    shades = [np.clip(np.array(COLOURS[n]) + rng.normal(0, 5, (8, 8, 3)), 0, 255).astype(np.uint8) for n in names]
    captions = tuple(("a wall", "a wall", f"a {name} wall") for name in names)
    return Table(Pictures(tuple(map(Image.fromarray, shades))), {"captions": Column("captions", captions)})


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def said(fitted: Any, table: Table[Any]) -> list[str]:
    return [own[0].value for own in fitted.caption(table.items, Run())]


def test_a_reward_of_the_own_picture_names_its_colour_and_one_of_another_does_not() -> None:
    class Turned(ClipReward):
        def seen_by_reward(self, z: torch.Tensor, run: Run) -> torch.Tensor:
            return z[torch.randperm(len(z), generator=run.generator("turned"))]

    settings: dict[str, Any] = {
        "tokens": "pooled",
        "lm_width": 32,
        "layers": 1,
        "epochs": 80,
        "batch": 20,
        "rate": 1e-2,
        "rewarded": 60,
        "reward_batch": 20,
        "reward_rate": 1e-3,
        "grammar": 0.0,
    }
    table, test, kit = walls(40, 0), walls(20, 1), Kit({"main": ColourBackbone()})
    method = ClipReward(**settings)
    first = method.likely(kit, Evidence(train=table), Run())

    def named(fitted: Any) -> int:
        return sum(list(COLOURS)[i % 5] in c.lower() for i, c in enumerate(said(fitted, test)))

    assert named(first) <= 4  # most annotators say "a wall"
    assert named(method.rewarded_from(first, table, Run())) >= 16
    assert named(Turned(**settings).rewarded_from(first, table, Run())) <= 10


def test_a_constant_reward_changes_nothing_and_no_step_is_likelihood(clip: Any) -> None:
    evidence: Evidence[Any] = Evidence(train=walls(8, 0))
    kit = Kit({"main": clip})
    likely = ClipReward(**SMALL, weight=0.0, grammar=0.0).fit(kit, evidence, Run())
    none = replace(ClipReward(**SMALL), rewarded=0).fit(kit, evidence, Run())
    assert all(torch.equal(t, none.lm[name]) for name, t in likely.lm.items())
    moved = ClipReward(**SMALL).fit(kit, evidence, Run())
    assert any(not torch.equal(t, none.lm[name]) for name, t in moved.lm.items())


def test_captions_depend_on_the_image_and_the_seed_alone_and_are_saved(clip: Any, tmp_path: Path) -> None:
    kit, evidence = Kit({"main": clip}), Evidence(train=walls(8, 0))
    fitted = ClipReward(**SMALL, tokens="patches").fit(kit, evidence, Run(seed=2))
    images = Pictures(tuple(picture(i, i) for i in range(3)))
    whole = fitted.caption(images, Run(), n=3)
    assert [fitted.caption(Pictures((i,)), Run(), n=3)[0] for i in images.images] == whole
    assert all(len({t.value for t in own}) == len(own) <= 3 for own in whole)
    again = ClipReward(**SMALL, tokens="patches").fit(kit, evidence, Run(seed=2))
    assert all(torch.equal(t, fitted.lm[name]) for name, t in again.lm.items())
    portable.save(fitted, tmp_path / "fitted")
    assert portable.load(tmp_path / "fitted", kit).caption(images, Run(), n=3) == whole


def test_the_grammar_head_learns_on_captions_that_it_tests_on_others(clip: Any) -> None:
    table = walls(20, 0)
    words = [f"{a} {b} {c}" for a in ("one", "two") for b in ("red", "blue") for c in ("cat", "dog", "cup")]
    table = Table(table.items, {"captions": Column("captions", tuple((words[i % 12],) for i in range(20)))})
    head, accuracy = m.grammar_head(clip, table, Vocabulary.of(words), Run())
    assert accuracy is not None
    assert 0 <= accuracy <= 1
    assert not any(p.requires_grad for p in head.parameters())
    few = table.take([0, 1])
    assert m.grammar_head(clip, few, Vocabulary.of(words), Run())[1] is None


def test_long_captions_are_counted_and_bad_input_is_named(clip: Any) -> None:
    run, table = Run(), walls(8, 0)
    long = Table(table.items, {"captions": Column("captions", (("one two three four five six seven",),) * 8)})
    ClipReward(**{**SMALL, "rewarded": 0}).fit(Kit({"main": clip}), Evidence(train=long), run)
    assert run.tally["cut"] == 8
    with pytest.raises(MissingPart):
        ClipReward(**SMALL).fit(Kit(), Evidence(train=table), Run())
    with pytest.raises(MissingHook):
        ClipReward(**SMALL).fit(Kit({"main": ColourBackbone()}), Evidence(train=table), Run())
    for evidence in (Evidence(), Evidence(train=Table(table.items))):
        with pytest.raises(MissingEvidence, match="images with captions"):
            ClipReward(**SMALL).fit(Kit({"main": clip}), evidence, Run())
    bare = Table(table.items, {"captions": Column("captions", (("a wall",), ()) * 4)})
    with pytest.raises(DataError, match="picture 1 has no caption"):
        ClipReward(**SMALL).fit(Kit({"main": clip}), Evidence(train=bare), Run())
    refused(ClipReward, {"lm_width": 10}, {"samples": 0}, {"rate": 0.0}, {"weight": -1.0}, {"tokens": "grid"})
