"""Descriptions that say something help; those that say nothing are told so; a control that says nothing does not
win.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych.core import ClassNames, Evidence, Run, Text, TextPool, UsageError
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.words.pools import Pool
from proofs.ablate import NAMES, RANDOM, SWAPPED, Ablated, ablate
from proofs.classify import swapped_lists
from proofs.text_spoils import random_texts, swapped_texts
from tests.support.colours import COLOURS, ColourBackbone, colour_folder

CODES = dict(zip(sorted(COLOURS), ("kiwi", "plum", "fig", "lime", "date"), strict=True))
"""Names that the backbone does not know: only the descriptions say which colour it is."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    return open_data(colour_folder(tmp_path_factory.mktemp("a") / "d", {"train": 4, "test": 12}))


def pool(says: dict[str, str]) -> Pool:
    return Pool(
        "tests", TextPool({CODES[c]: tuple(Text(f"it has {says[c]} {w}") for w in ("paint", "cloth")) for c in COLOURS})
    )


NAMED = ClassNames(tuple(CODES[c] for c in sorted(COLOURS)))


def test_true_descriptions_help(data: LabelledData) -> None:
    ablation = ablate(
        data,
        pool({c: c for c in COLOURS}),
        ColourBackbone(),
        Run(),
        methods=("description",),
        classes=NAMED,
        seeds=(1, 2, 3),
    )
    assert not ablation.missing
    for row in ablation.rows:
        assert {a.other for a in row.against} == {NAMES, SWAPPED, RANDOM}
        assert all(a.better and a.gain.low > 0 for a in row.against), row
        assert row.verdict.startswith("These descriptions help")
    written = json.loads(json.dumps(ablation.as_dict()))
    assert written["rows"][0]["against"][0]["p_holm"] < 0.05


def test_empty_words_are_not_shown_to_help(data: LabelledData) -> None:
    ablation = ablate(
        data,
        pool(dict.fromkeys(COLOURS, "nice")),
        ColourBackbone(),
        Run(),
        methods=("description",),
        classes=NAMED,
        seeds=(1, 2),
    )
    assert all("not shown" in row.verdict for row in ablation.rows)
    assert not any(a.better for row in ablation.rows for a in row.against)


def test_wrong_descriptions_hurt(data: LabelledData) -> None:
    order = sorted(COLOURS)
    wrong = dict(zip(order, order[1:] + order[:1], strict=True))
    texts = Pool("tests", TextPool({c: (Text(f"{wrong[c]} paint"),) * 3 for c in order}))

    class Plain(ColourBackbone):
        pass

    ablation = ablate(
        data, texts, Plain(), Run(), methods=("description",), classes=ClassNames(tuple(order)), seeds=(1, 2)
    )
    plain = next(row for row in ablation.rows if row.variant == "")
    assert next(a for a in plain.against if a.other == NAMES).gain.value <= 0


def test_random_words_keep_keys_and_lengths_and_say_nothing() -> None:
    held = TextPool(
        {"a": (Text("one two three"), Text("four")), "a | b": (Text("five six"),), "b | a": (Text("seven"),)}
    )
    drawn = random_texts(held, 0)
    assert {k: [len(t.value.split()) for t in v] for k, v in drawn.texts.items()} == {
        "a": [3, 1],
        "a | b": [2],
        "b | a": [1],
    }
    assert drawn == random_texts(held, 0)
    assert drawn != random_texts(held, 1)


def pairs(says: dict[str, str], called: dict[str, str]) -> Pool:
    """Texts of pairs as they ship: the name of the class stands in each."""
    texts = {
        f"{called[a]} | {called[b]}": tuple(
            Text(f"A photo of a {called[a]} in {says[a]} {w}") for w in ("paint", "cloth")
        )
        for a in COLOURS
        for b in COLOURS
        if a != b
    }
    return Pool("tests", TextPool(texts))


def against(row: Ablated) -> dict[str, tuple[float, bool]]:
    return {a.other: (a.gain.value, a.better) for a in row.against}


def test_pairs_that_say_nothing_beat_no_control(data: LabelledData) -> None:
    texts, classes = pairs(dict.fromkeys(COLOURS, "nice"), {c: c for c in COLOURS}), ClassNames(tuple(sorted(COLOURS)))
    ablation = ablate(data, texts, ColourBackbone(), Run(), methods=("fudd",), classes=classes, seeds=(1, 2))
    assert len(ablation.rows) == 2
    for row in ablation.rows:
        assert row.accuracy.value > 0.5, "the names alone tell the colours apart"
        assert against(row)[SWAPPED] == against(row)[RANDOM] == (0, False), "the names stay, and no more was said"


def test_pairs_that_say_what_is_seen_help(data: LabelledData) -> None:
    ablation = ablate(
        data,
        pairs({c: c for c in COLOURS}, CODES),
        ColourBackbone(),
        Run(),
        methods=("fudd",),
        classes=NAMED,
        seeds=(1, 2, 3),
    )
    row = next(row for row in ablation.rows if not row.variant)
    assert all(better for _, better in against(row).values()), row
    assert row.verdict.startswith("These descriptions help")


def test_lists_that_hold_the_name_and_say_nothing_beat_no_control(data: LabelledData) -> None:
    texts = Pool("tests", TextPool({c: (Text(f"nice {c} paint"), Text(f"{c} cloth, indeed")) for c in COLOURS}))
    ablation = ablate(
        data,
        texts,
        ColourBackbone(),
        Run(),
        methods=("description",),
        classes=ClassNames(tuple(sorted(COLOURS))),
        seeds=(1, 2),
    )
    for row in ablation.rows:
        assert against(row)[SWAPPED] == against(row)[RANDOM] == (0, False)


def test_texts_without_names_are_spoiled_as_ever() -> None:
    held = TextPool({"a": (Text("one two three"), Text("four")), "b": (Text("five six"),), "c": (Text("seven"),)})
    classes, run = ClassNames(("a", "b", "c")), Run(seed=3)
    _, evidence = swapped_lists(classes, Evidence(texts=held), run)
    assert swapped_texts(classes, held, run) == evidence.texts
    words, rng = sorted(["one", "two", "three", "four", "five", "six", "seven"]), np.random.default_rng(5)
    drawn = [" ".join(words[i] for i in rng.integers(7, size=n)) for n in (3, 1, 2, 1)]
    assert [text.value for texts in random_texts(held, 5).texts.values() for text in texts] == drawn


def test_bad_input(data: LabelledData) -> None:
    texts = pool({c: c for c in COLOURS})
    with pytest.raises(UsageError, match="does not live on descriptions"):
        ablate(data, texts, ColourBackbone(), Run(), methods=("gda",))
    with pytest.raises(UsageError, match="seed"):
        ablate(data, texts, ColourBackbone(), Run(), seeds=())
    with pytest.raises(UsageError, match="1 names for 5"):
        ablate(data, texts, ColourBackbone(), Run(), classes=ClassNames(("a",)))
    ablation = ablate(data, texts, ColourBackbone(), Run(), methods=("description",), seeds=(1,))
    assert "no list for" in ablation.missing["classification by description"], "the pool names other classes"


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from diptych.cli.main import app

    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    colour_folder(tmp_path / "d", {"train": 4, "test": 6})
    (tmp_path / "pool.json").write_text(json.dumps({c: [f"{c} paint"] for c in COLOURS}))

    def run(*words: str) -> tuple[int, str, str]:
        got = CliRunner().invoke(app, ["ablate", *words])
        return got.exit_code, got.stdout, got.stderr

    code, out, _ = run("d", "--texts", "pool.json", "--methods", "description", "--seeds", "1,2", "--out", "a.json")
    assert code == 0
    assert "random words" in out
    assert "classification by description: " in out
    assert json.loads((tmp_path / "a.json").read_text())["kind"] == "ablation"
    assert run("d", "--texts", "pool.json", "--out", "a.json")[0] == 2
    code, _, err = run("d")
    assert (code, "--texts" in err) == (2, True)
