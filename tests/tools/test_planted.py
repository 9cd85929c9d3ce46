from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.planted import __main__ as command
from benchmarks.planted.matrix import ALARM, CELLS, EXPECTED, Cell, judged, written
from benchmarks.planted.models import FAULTS, HONEST, TWIN_MODEL, Planted
from benchmarks.planted.scored import edits, scored, sources
from benchmarks.planted.tables import Sizes, tables
from benchmarks.planted.truth import CLASSES, Thing, Truth, World, concepts, stated, weights
from diptych.core import Control, Finding, Run
from diptych.data.samples import as_samples
from diptych.data.side_by_side import SideBySide

SMALL = Sizes(own=240, shift=120, cues=90, ood=120, pairs=40)
SCRIPT = Path(__file__).parents[2] / "tools" / "planted_table.py"


def test_texts_say_what_is_parsed_from_them() -> None:
    assert stated("a photo of a red circle to the left of a star") == Truth(
        (Thing("circle", "red"), Thing("star")), "to the left of"
    )
    assert stated("In this picture, the color of the square is blue.").things == (Thing("square", "blue"),)
    assert stated("a photo of nothing").things == ()
    two = concepts(stated("a red circle above a red circle"))
    assert two["shape", "circle"] == two["bound", "red", "circle"] == 2
    assert weights(two, picture=True).sum() > weights(two, picture=False).sum()


def test_a_world_knows_pictures_alone_and_beside_each_other() -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    truths = [Truth((Thing("circle", "red"),), background="dark"), Truth((Thing("star", "blue"),))]
    world = World()
    world.learn(zip(images, truths, strict=True), halves=True)
    assert world.truth(images[1]) == truths[1]
    made = SideBySide(as_samples(images), (1, 0), (0, -1))
    assert [t.shape for t in world.truth(made[0]).things] == ["star", "circle"]
    assert world.truth(made[1]) == Truth(truths[0].things), "no background on a canvas"
    with pytest.raises(KeyError):
        world.truth(Image.new("RGB", (64, 64)))


def test_the_matrix_names_every_fault_and_only_columns_that_there_are() -> None:
    titles = {c.title for c in CELLS}
    assert set(EXPECTED) == {TWIN_MODEL.name, *(f.name for f in FAULTS)}
    assert all(set(given) == titles for given in EXPECTED.values())
    assert all(any(m not in ("same", "open") for m in EXPECTED[f.name].values()) for f in FAULTS)
    assert set(EXPECTED[TWIN_MODEL.name].values()) == {"same"}
    assert written("oracle") is EXPECTED
    assert written("tiny")["colour blind"]["accuracy"] == "open"


def test_a_cell_is_worse_where_intervals_do_not_meet_and_unhealthy_without_room() -> None:
    cell = Cell("accuracy", "a", "accuracy", "", False, 0.5)

    def found(value: float, half: float) -> Finding:
        return Finding("m", "accuracy", value, (value - half, value + half), range=(0.0, 1.0))

    honest = found(0.8, 0.05)
    assert cell.healthy(honest) == ""
    assert [cell.mark(honest, found(v, 0.05)) for v in (0.6, 0.72, 0.95)] == ["worse", "same", "better"]
    assert cell.mark(honest, Finding.not_testable("m", "accuracy", "At chance.")) == "not testable"
    assert cell.healthy(found(0.52, 0.05))
    assert cell.healthy(None) == "not measured"
    own, other = ({"holistic-robustness": [f]} for f in (honest, found(0.6, 0.05)))
    alarm = replace(honest, control=Control("nothing", 0.3, (0.2, 0.4)))
    (row,) = judged({"holistic-robustness": [alarm]}, {"honest, other noise": other}, EXPECTED)
    assert (row["cells"][0]["right"], row["cells"][0]["unhealthy"]) == (False, ALARM)
    (row,) = judged(own, {"honest, other noise": other}, EXPECTED)
    assert row["cells"][0]["right"] is False
    assert row["cells"][1]["unhealthy"] == "not measured"


def test_the_oracle_shows_planted_faults_and_a_second_honest_one_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "AUDITS", ("holistic-robustness", "mmvp", "concept-association-bias"))
    data, world, _ = tables(0, SMALL)
    run = Run(seed=0)
    shown = {f.name: f for f in (TWIN_MODEL, *FAULTS) if f.name not in ("background reader", "duplicate label")}
    faulty = {
        name: command.audited(Planted(world, fault, seed=int(fault is TWIN_MODEL)), data, run)
        for name, fault in shown.items()
    }
    rows = judged(command.audited(Planted(world, HONEST), data, run), faulty, EXPECTED)
    assert len(rows) == 5
    cells = [(row["fault"], c) for row in rows for c in row["cells"]]
    wrong = [(f, c["column"]) for f, c in cells if c["expected"] == "same" and c["right"] is False]
    alarms = [(f, c["column"]) for f, c in cells if c["unhealthy"] == ALARM]
    assert set(wrong) <= set(alarms), "no false find, where the audit's control held"
    finds = {(fault, c["column"]) for fault, c in cells if c["right"] and c["expected"] != "same"}
    assert ("colour blind", "pairs, color") in finds
    assert ("bag of words", "association of two objects") in finds
    assert ("texture reader", "shape bias") in finds
    assert ("over-confident", "temperature gain") in finds


def test_a_wrapped_backbone_has_the_fault_and_no_other_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    from diptych.backbones.sources.load import load

    data, world, _ = tables(0, Sizes(8, 4, 4, 4, 1))
    inner, image = load("tiny"), data.probes["own"].table.items[0]
    plain, grey = (Planted(world, f, inner) for f in (HONEST, next(f for f in FAULTS if f.name == "colour blind")))
    vectors = [b.image.encode(b.image.inputs([image])) for b in (plain, grey)]
    assert not vectors[0].equal(vectors[1])
    texts = [b.text.encode(b.text.inputs(["a red star"])) for b in (plain, grey)]
    assert texts[0].equal(texts[1])
    sharp = Planted(world, next(f for f in FAULTS if f.sharp != 1), inner)
    assert float(sharp.scale()[0].detach()) == pytest.approx(4 * float(inner.scale()[0].detach()))
    twins = Planted(world, next(f for f in FAULTS if f.name == "duplicate label"), inner).text
    one, two = twins.encode(twins.inputs([f"a photo of a {c}." for c in CLASSES[:2]]))
    assert one.allclose(two, atol=1e-6)


def test_scorers_find_what_is_planted_and_read_words_through_the_inner_tower() -> None:
    from diptych.backbones.sources.load import load

    data, world, again = tables(0, Sizes(own=160, shift=160, cues=4, ood=4, pairs=40))
    colour, reader = (next(f for f in FAULTS if f.name == name) for name in ("colour blind", "background reader"))
    cells = {c.title: c for c in CELLS}
    honest, run = Planted(world, HONEST), Run(seed=0)
    for title, fault, slug, found in (
        ("edits, color", colour, "augclip", lambda model: list(edits(model, data, again, run))),
        ("lead of mixed sources", reader, "quality-not-quantity", lambda model: sources(model, data, run)),
    ):
        base, faulty = (cells[title].of({slug: found(model)}) for model in (honest, Planted(world, fault)))
        assert base is not None
        assert cells[title].mark(base, faulty) == "worse"
    few, world, again = tables(0, Sizes(64, 64, 4, 4, 6))
    seen: dict[bytes, Any] = {}
    told = scored(Planted(world, HONEST, load("tiny"), seen=seen), few, again, Run(seed=0))
    assert [f.count for f in told["clip4dm"]] == [6, 6]
    assert len(seen) > 0
    worded = next(f for f in FAULTS if f.worded is not None)
    for blind_to_words in (Planted(world, worded, load("tiny"), seen=seen), Planted(world, HONEST)):
        assert set(scored(blind_to_words, few, again, run)) == {"augclip", "quality-not-quantity"}


def test_the_page_shows_each_matrix_and_what_is_otherwise(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("planted_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    cell = {
        "column": "accuracy", "expected": "worse", "found": "same", "right": False, "unhealthy": "",
        "value": 0.7, "interval": [0.6, 0.8], "honest": 0.75, "honest_interval": [0.7, 0.8],
    }  # fmt: skip
    found = {
        "as_written": 0, "otherwise": 1, "open": 0, "unhealthy": 0, "seed": 1, "tables": {"own": 4}, "command": "c",
        "columns": [{"title": "accuracy"}], "rows": [{"fault": "dull", "cells": [cell]}],
    }  # fmt: skip
    text = tool.page(f"a\n{tool.START}{tool.END}\nb", {"oracle": json.loads(json.dumps(found))})
    assert "| accuracy | 0.75 [0.70, 0.80] | · (not worse) |" in text
    assert "- dull, accuracy: 0.70 [0.60, 0.80]" in text
    assert tool.sign({**cell, "found": "worse", "right": True}) == "**worse**"
    assert tool.sign({**cell, "unhealthy": "no"}) == "–"
    assert tool.sign({**cell, "unhealthy": ALARM}) == "alarm"
    equal = {"expected": "same", "right": True, "value": 0.75, "interval": [0.7, 0.8]}
    kinds = {
        "otherwise": {}, "unhealthy": {"unhealthy": "no"}, "open": {"expected": "open"}, "find": {"right": True},
        "not testable": {"right": True, "expected": "not testable"}, "same": {**equal, "value": 0.74},
        "identical": equal,
    }  # fmt: skip
    assert {name: tool.kind({**cell, **change}) for name, change in kinds.items()} == {name: name for name in kinds}
    alarm = {**cell, "right": None, "unhealthy": ALARM, "column": "gain"}
    assert tool.kind(alarm) == "otherwise"
    rows = [{"fault": "dull", "cells": [cell]}, {"fault": "loud", "cells": [alarm]}]
    told = "\n".join(tool.table({**found, "rows": rows}))
    assert "0 finds" in told
    assert "Not as expected: 2." in told
    assert "- gain, 1 cells: the audit's own control" in told
    assert tool.sign({**cell, "expected": "open"}) == "(·)"
    assert "Not measured yet." in tool.page(f"{tool.START}{tool.END}", {})
