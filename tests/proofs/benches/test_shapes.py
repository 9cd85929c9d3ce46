"""The proof of point clouds on the development data, made small; what it shows stands in results/."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diptych.core import Evidence, Run
from diptych.evaluation.arms import Arm
from diptych.methods.extend.clip2point import CLIP2Point
from proofs.benches.shapes import (
    CLASSED,
    Furniture,
    ShapeBench,
    image_of,
    other_icons,
    other_labels,
    read_furniture,
)
from proofs.extend import TRIALS
from tests.support.small_clip import small_clip

METHOD = CLIP2Point(tunes="heads", cameras=((0, 0), (0, 90)), epochs=2, hidden=8, adapter_epochs=2, batch=8)


@pytest.fixture(scope="module")
def furniture(data_root: Path) -> Furniture:
    data = read_furniture(data_root / "furniture3d")
    return replace(data, pairs=replace(data.pairs, names=data.pairs.names[:8], shapes=data.pairs.shapes[:8]))


def test_objects_with_and_without_classes(data_root: Path) -> None:
    data = read_furniture(data_root / "furniture3d")
    assert (len(data.pairs), len(data.train), len(data.val), len(data.texts)) == (291, 149, 55, 13)
    assert "image of a bottle or cup." in data.texts
    assert image_of("bottle_or_cup") == "image of a bottle or cup."
    parts: Any = (data.pairs, data.train.items, data.val.items)
    names = [set(t.names) for t in parts]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert {s.points.shape for s in data.pairs.shapes} == {(1024, 3)}


def test_controls_keep_what_they_do_not_shuffle(furniture: Furniture) -> None:
    run = Run(seed=1)
    spoiled = other_icons(Evidence(unlabelled=furniture.pairs), run).unlabelled
    assert spoiled is not None
    both: Any = (spoiled, furniture.pairs)
    icons = [[shapes[i].picture.tobytes() for i in range(len(shapes))] for shapes in both]
    assert sorted(icons[0]) == sorted(icons[1]) != icons[0]
    train = other_labels(Evidence(train=furniture.train), run).train
    assert train is not None
    said = [list(t.columns["captions"].values) for t in (train, furniture.train)]
    assert sorted(said[0]) == sorted(said[1]) != said[0]


def test_heads_are_measured_as_whole_towers_would_be(furniture: Furniture, tmp_path: Path) -> None:
    vit = small_clip(tmp_path / "vit")
    data = replace(furniture, train=furniture.train.take(range(20)), val=furniture.val.take(range(6)))
    bench = ShapeBench(data, vit, Run(workers=1), (1, 2, 3), {"items": 6})
    zero = bench.measure(Arm(METHOD))
    assert (zero.values.shape, zero.parts[CLASSED].values.shape) == ((3, 6), (3, 26))
    few = bench.measure(Arm(METHOD, shots=2))
    assert (few.values.shape, dict(few.parts)) == ((3, 6), {})
    from diptych.core import Kit
    from diptych.features.embed import embed

    for evidence in (Evidence(unlabelled=data.pairs), Evidence(train=data.train)):
        space = METHOD.fit(Kit({"main": vit}), evidence, Run(workers=1))
        ours = bench._vectors(METHOD, space, data.val.items, Run(workers=1))
        whole = embed(space.image, data.val.items, Run(workers=1))
        assert (ours - whole).abs().max() < 1e-4


def test_the_trial_names_what_it_compares() -> None:
    trial = TRIALS["clip2point"]
    assert [c.part for c in trial.claims] == [CLASSED, ""]
    assert {c.name for c in trial.controls} == {"icons of others", "shuffled labels"}
