from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import Column, DataError, NotAvailable, Run, Table
from diptych.data.formats.regions import Masks
from diptych.data.labelled import LabelledData
from diptych.data.memory import InMemory
from diptych.data.scenes.composed import IGNORE, CutOut
from diptych.evaluation.arms import Arm
from diptych.methods.classify.perceptionclip import PerceptionCLIP
from proofs.benches import photo_contexts as proof
from proofs.classify import RANDOM_LETTERS
from tests.support.colours import ColourBackbone, colour_folder

CLASSES = ("grass", "road", "cow", "car")


def photo(mask: np.ndarray[Any, Any]) -> Image.Image:
    """Return a photo whose pixels say their class."""
    return Image.fromarray(np.repeat(mask[:, :, None] * 60, 3, axis=2).astype(np.uint8))


def masked() -> LabelledData:
    """Return a meadow, a street, a cow and a car, each before its own background."""
    meadow, street = np.zeros((40, 60), np.uint8), np.ones((40, 60), np.uint8)
    cow, car = meadow.copy(), street.copy()
    cow[10:30, 10:50], car[10:30, 10:50] = 2, 3
    cow[:, :15], cow[:, 45:] = IGNORE, IGNORE  # no background, and an empty square
    masks = [meadow, street, cow, car]
    columns = {"mask": Column("mask", Masks((0, 1, 2, 3), lambda i: masks[i]))}
    return LabelledData("farm", CLASSES, {"val": Table(InMemory([photo(m) for m in masks]), columns)})


def test_things_stand_before_every_kind_of_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "BEFORE", {"nature": ("grass",), "streets": ("road",)})
    made = proof.pasted(masked())
    names = sum(proof.KINDS.values(), ())
    assert [names[k] for k in made.labels] == ["cow", "cow", "car", "car"]
    assert made.groups.tolist() == [
        f"{kind}, {where}" for kind in ("animals", "vehicles") for where in ("nature", "streets")
    ]
    assert made.photos.tolist() == [0, 0, 1, 1]
    on_the_street = np.asarray(made.pictures[1])
    assert on_the_street[0, 0].tolist() == [60] * 3, "a road"
    assert on_the_street[112, 112].tolist() == [120] * 3, "a cow"
    assert on_the_street[0, 223].tolist() == [60] * 3, "and nothing of its meadow"
    with pytest.raises(DataError, match="2 things to paste, and needs backgrounds"):
        proof.pasted(LabelledData("farm", CLASSES, {"val": masked().split("val").take([1, 2, 3])}))


def test_a_thing_keeps_its_outline() -> None:
    mask = np.full((20, 20), IGNORE, np.uint8)
    mask[5:15, 5:15] = 2
    mask[5:10, 5:10] = IGNORE
    plain = Image.new("RGB", (30, 20), (9, 9, 9))
    shown = np.asarray(proof.before(plain, photo(np.full((20, 20), 2)), mask, CutOut(0, 2, (5, 5, 15, 15))))
    middle = shown[80:144, 80:144, 0]
    assert (middle[:24, :24] == 9).all()
    assert (middle[40:, 40:] == 120).all()


def test_half_of_the_photos_are_transformed_and_nobody_chooses_which(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = InMemory([rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(24)])
    table: Table[Any] = Table(photos, {"label": Column("label", np.arange(24) % 3)})
    made = proof.transformed(table)
    names, counts = np.unique(made.groups, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"plain": 12, **dict.fromkeys(proof.LOOKS, 4)}
    turned = proof.transformed(table.take(range(23, -1, -1)))
    assert turned.groups.tolist() == made.groups[::-1].tolist()
    for picture, group, own in zip(made.pictures, made.groups, photos.items, strict=True):
        shown = np.asarray(picture)
        if group == "dark":
            assert shown.mean() < 0.4 * own.mean()
        elif group == "black and white":
            assert np.ptp(shown, axis=2).max() == 0
        else:
            assert (shown == (own if group == "plain" else own[::-1, ::-1])).all()


def test_the_worst_group_is_measured_and_the_system_told_what_differs(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "colours", {"train": 4, "test": 12})
    bench = proof.open_contexts(f"halves:{folder}", ColourBackbone(), Run(), (1, 2))
    measured = bench.measure(Arm("zero-shot", "single"))
    assert measured.values.shape == (2, 60, 4, 2)
    assert measured.values[:, :, :, 0].sum() == 2 * 60
    assert bench.statistic.of(measured.values, 0).value == pytest.approx(min(measured.others[g] for g in bench.names))
    assert sum(bench.facts["groups"].values()) == 60
    told = proof._with_factors(proof.FACTORS_OF[bench.kind], RANDOM_LETTERS).change(PerceptionCLIP(), Run())
    assert told.factors == ("orientation", "illumination", "color")
    assert told.contexts.source == "random letters"
    with pytest.raises(NotAvailable, match="neither halves:NAME"):
        proof.open_contexts("cifar10_small", ColourBackbone(), Run(), (1, 2))
