"""An exported classifier answers as the one on the board did, and refuses what does not belong to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych import load_classifier
from diptych.core import DataError, Run, Table, UnreadableItem, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.evaluation.few_shot.board import Board, board
from diptych.evaluation.few_shot.held import halves
from diptych.evaluation.few_shot.plan import Plan
from diptych.tasks.classify_with_model import answer
from diptych.tasks.model import load
from tests.support.colours import ColourBackbone, colour_folder, coloured

PLAN = Plan(("zero-shot", "gda"), (2,), (1, 2))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path, LabelledData]:
    root = tmp_path_factory.mktemp("export")
    data = open_data(colour_folder(root / "d", {"train": 20, "test": 20}))
    return board(data, ColourBackbone(), Run(out=root / "out"), PLAN, export="best"), root / "out" / "model", data


def test_the_choice_reads_held_items_and_shows_test(exported: tuple[Board, Path, LabelledData]) -> None:
    made, _, _ = exported
    choice = made.choice
    assert choice is not None
    assert choice["chosen_on"]["acc1"] == max(r.held["acc1"] for r in made.rows)
    row = next(r for r in made.rows if (r.label, r.shots) == (choice["label"], choice["shots"]))
    assert choice["test"]["acc1"] == row.metrics["acc1"]
    assert choice["chosen_on"]["seen_by_fit"] is False
    assert all(r.held["items"] == 80 for r in made.rows if r.shots), "16 of the 20 - 2 - 2 left, of five classes"


def test_it_answers_as_on_the_board(exported: tuple[Board, Path, LabelledData]) -> None:
    made, folder, data = exported
    model = load(folder, ColourBackbone())
    row = made.best
    assert row is not None
    said = model.predict_proba(data.splits["test"].items).argmax(axis=1)
    assert said.tolist() == row.outcomes[0].predicted.tolist()
    assert model.about["data_hash"] == made.facts["data_hash"]
    assert model.about["spec"]["pixels"]["size"] == 8
    assert model.about["test"]["metrics"]["acc1"] == row.records[0].metrics["acc1"]
    again = load_classifier(folder, ColourBackbone())
    assert np.array_equal(
        again.predict_proba(data.splits["test"].items), model.predict_proba(data.splits["test"].items)
    )


def test_promises_on_the_test_photos(exported: tuple[Board, Path, LabelledData]) -> None:
    _, folder, data = exported
    model, test = load(folder, ColourBackbone()), data.splits["test"]
    found = answer(test.items, model, sets=0.9, unknown_rate=0.05, top=1, name=folder)
    names = [data.classes[k] for k in test.labels()]
    inside = [name in p.inside for p, name in zip(found.predictions, names, strict=True) if p.inside is not None]
    assert len(inside) == 100
    assert np.mean(inside) > 0.8
    assert np.mean([p.unknown for p in found.predictions]) < 0.15
    assert all(p.inside and p.inside[0] == p.top[0][0] for p in found.predictions)
    wide = answer(test.items, model, sets=0.9, per_class=True)
    assert all(p.inside for p in wide.predictions)
    assert found.predictions[0].as_dict()["set"]
    assert found.promises["unknown_rate"] == 0.05
    plain = answer(test.items, model).predictions[0].as_dict()
    assert {"set", "unknown"}.isdisjoint(plain)


def test_a_grey_photo_is_unknown(exported: tuple[Board, Path, LabelledData], tmp_path: Path) -> None:
    from PIL import Image

    _, folder, _ = exported
    Image.new("RGB", (12, 12), (128, 128, 128)).save(tmp_path / "grey.png")
    red = coloured(tmp_path / "red.png", "red", 0, noise=0)
    found = answer(ImageFiles([tmp_path / "grey.png", red]), load(folder, ColourBackbone()), unknown_rate=0.2)
    assert [p.unknown for p in found.predictions] == [True, False]


def test_what_does_not_belong_is_refused(exported: tuple[Board, Path, LabelledData], tmp_path: Path) -> None:
    import shutil

    from tests.support.backbone import SmallBackbone

    made, folder, data = exported
    with pytest.raises(UsageError, match="was fitted on colours"):
        load(folder, SmallBackbone())
    with pytest.raises(DataError, match="no exported model"):
        load(tmp_path)
    for name, edit, says in (
        ("model.json", {"schema": 9}, "schema 9"),
        ("model.json", {"fitted_sha256": "0"}, "not written together"),
        ("model.json", {"spec": None}, "names no backbone"),
        ("model.json", {"classes": ["a"]}, "other classes"),
        ("fitted.json", {"extra": 1}, "not written together"),
    ):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "m")
        path = tmp_path / "m" / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
        with pytest.raises((UsageError, DataError), match=says):
            load(tmp_path / "m", ColourBackbone())
    model = load(folder, ColourBackbone())
    with pytest.raises(UsageError, match="share"):
        answer(data.splits["test"].items, model, sets=90)
    with pytest.raises(UsageError, match="give 999 or more"):
        answer(data.splits["test"].items, model, unknown_rate=0.001)
    with pytest.raises(UsageError, match="coverage too"):
        answer(data.splits["test"].items, model, per_class=True)
    for bad in ("gpa", "tip-adapter"):
        with pytest.raises(UsageError, match="not on this board"):
            board(data, ColourBackbone(), Run(out=tmp_path), PLAN, export=bad)
    with pytest.raises(UsageError, match="out folder"):
        board(data, ColourBackbone(), Run(), PLAN, export="best")
    only = LabelledData("only", data.classes, {"test": data.splits["test"]})
    with pytest.raises(UsageError, match="nothing to choose on"):
        board(only, ColourBackbone(), Run(out=tmp_path), Plan(("zero-shot",)), export="best")
    assert made.complete


def test_without_items_apart_there_is_no_promise(exported: tuple[Board, Path, LabelledData], tmp_path: Path) -> None:
    _, _, data = exported
    only = LabelledData("only", data.classes, {"test": data.splits["test"]})
    finished_board = board(only, ColourBackbone(), Run(out=tmp_path), Plan(("zero-shot",)), export="zero-shot")
    assert finished_board.choice is None
    model = load(tmp_path / "model", ColourBackbone())
    assert model.calibration is None
    assert answer(data.splits["test"].items, model).promises["temperature"] is None
    with pytest.raises(UsageError, match="cannot promise"):
        answer(data.splits["test"].items, model, sets=0.9)


def test_with_all_of_val_in_fit_half_is_kept_for_calibration(
    exported: tuple[Board, Path, LabelledData], tmp_path: Path
) -> None:
    _, _, data = exported
    finished_board = board(data, ColourBackbone(), Run(out=tmp_path), Plan(("gda",), (2,), (1,), "full"), export="gda")
    assert finished_board.choice is not None
    assert finished_board.choice["chosen_on"]["seen_by_fit"] is False
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert about["calibration"] == {
        "temperature": about["calibration"]["temperature"],
        "items": 45,
        "seen_by_fit": False,
    }


def test_halves() -> None:
    first, second = halves(np.array([0, 1, 0, 1, 0, 2]))
    assert (first, second) == ([0, 1, 4, 5], [2, 3])


def test_held_items_are_nobodys_shots(exported: tuple[Board, Path, LabelledData]) -> None:
    from diptych.evaluation.few_shot.episodes import episode

    _, _, data = exported
    drawn = episode(data, 4, 3, "coop", ColourBackbone(), Run(), held=16)
    parts: list[Table[object] | None] = [drawn.train, drawn.val, drawn.held]
    keys = [{t.items.key(i) for i in range(len(t))} for t in parts if t is not None]
    assert [len(k) for k in keys] == [20, 20, 60]
    assert len(keys[0] | keys[1] | keys[2]) == 100


def test_photos_that_cannot_be_read_are_skipped_or_raise(
    exported: tuple[Board, Path, LabelledData], tmp_path: Path
) -> None:
    _, folder, data = exported
    model, items = load(folder, ColourBackbone()), data.splits["test"].items
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    mixed = [items[0], tmp_path / "broken.jpg", items[1], "lost.jpg"]
    named = model.predict(mixed, on_error="skip")
    assert named.tolist() == model.predict([items[0], items[1]]).tolist()
    assert named.kept.tolist() == [0, 2]
    assert [Path(error.name).name for error in named.failed] == ["broken.jpg", "lost.jpg"]
    shares = model.predict_proba(mixed, on_error="skip")
    assert np.array_equal(shares, model.predict_proba([items[0], items[1]]))
    assert shares.kept.tolist() == [0, 2]
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(UnreadableItem, match="broken"):
            ask(mixed)
        with pytest.raises(DataError, match="The only photo cannot be read"):
            ask(["lost.jpg"], on_error="skip")
        with pytest.raises(UsageError, match="on_error is"):
            ask(mixed, on_error="ignore")  # type: ignore[call-overload]
