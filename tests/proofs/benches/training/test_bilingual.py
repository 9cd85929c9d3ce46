"""The proof of DC-CLIP with few scenes and steps: the bench, not the claim."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from diptych.core import MissingHook, NotAvailable, Run
from diptych.data.scenes.compose import Scenes
from proofs.benches.training import bilingual
from proofs.benches.training.bilingual import (
    DC_CLIP,
    ENGLISH,
    GLOSSARY,
    LEARN,
    OTHER,
    SCENES,
    Remembered,
    in_english,
    named,
    open_bilingual,
    rolled,
    student,
)
from tests.support.colours import ColourBackbone
from tests.support.proofs import judged
from tests.train.test_pair import Squares, small

RUN = Run(workers=1)


def test_names_are_those_of_the_scenes() -> None:
    scenes = Scenes(SCENES, 8)
    for i in range(8):
        scene = scenes[i]
        (thing,) = scene.objects
        assert thing.colour
        assert [named(thing.colour, thing.noun, code) for code in (ENGLISH, OTHER)] == [
            scene.captions[ENGLISH], scene.captions[OTHER]
        ]  # fmt: skip
    assert in_english(["Kreis (rot)", "a dog"]) == ["a red circle", "a dog"]
    assert len(GLOSSARY) == 120


def test_a_teacher_remembers_its_vectors_and_the_control_rolls_them() -> None:
    class Counted:
        def __init__(self, whole):
            self.whole, self.seen = whole, 0

        def __getattr__(self, name):
            return getattr(self.whole, name)

        def encode(self, x):
            self.seen += len(x)
            return self.whole.encode(x)

    pictures, encoder = [Squares(5)[i] for i in range(3)], Counted(small().image)
    remembered = Remembered(encoder)
    one, two = (remembered.encode(remembered.inputs(pictures)) for _ in range(2))
    assert torch.equal(one, two)
    assert encoder.seen == 3
    with torch.no_grad():
        torch.testing.assert_close(one, encoder.whole.encode(encoder.whole.inputs(pictures)))
    others = Remembered(encoder, rolled)
    torch.testing.assert_close(others.inputs(pictures), one[[1, 2, 0]])


def test_students_are_drawn_by_the_seed() -> None:
    one, two, three = (student(small(), Run(seed=s)) for s in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    with pytest.raises(MissingHook, match="open_clip's towers"):
        student(ColourBackbone(), Run())


def test_the_bench_measures_every_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    less = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    }
    monkeypatch.setattr(bilingual, "STUDENT", {**bilingual.STUDENT, **less})
    sizes = {"train": 8, "unpaired": 8, "test": 6}
    opener = partial(open_bilingual, sizes=sizes, learn=replace(LEARN, batch=4, steps=2), before=2)
    verdict = judged(replace(DC_CLIP, bench=opener), "dc-clip", "scenes", small(), RUN, (1, 2, 3))
    (claim,), (control,) = verdict["claims"], verdict["controls"]
    assert (verdict["items"], verdict["train"]) == (6, 8)
    assert claim["method"]["recall_at_1"] == pytest.approx(claim["baseline"]["recall_at_1"] + claim["gain"])
    assert control["control"]["recall_at_1"] == pytest.approx(claim["baseline"]["recall_at_1"] + control["gain"])
    assert [b["name"] for b in verdict["beside"]] == [
        "after stage 1", "the teacher", "names in en", "names in de"
    ]  # fmt: skip
    with pytest.raises(NotAvailable, match="which are called scenes"):
        open_bilingual("emoji", small(), RUN, (1,))
