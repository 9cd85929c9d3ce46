from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import diptych
from diptych.core import DataError, UsageError
from diptych.methods.audit import clip4dm
from tests.support.colours import coloured
from tests.support.deep_backbone import CONTEXT, DeepBackbone, TowerText


@pytest.fixture(autouse=True)
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = functools.partialmethod(clip4dm.CLIP4DM.__init__, layers=2)
    monkeypatch.setattr(clip4dm.CLIP4DM, "__init__", shallow)
    for name in ("red", "blue"):
        coloured(tmp_path / f"{name}.png", name, 1)
    Path("pairs.csv").write_text("image,title\nred.png,a red wall\nblue.png,a blue sea\n")
    Path("right.csv").write_text("image,title\n" + "red.png,a red wall\nblue.png,a blue sea\n" * 10)


def test_pairs_are_compared_with_right_ones_and_say_how_far_to_trust_it() -> None:
    with pytest.warns(UserWarning, match="at most 60 % of right captions do so too, measured on 20 right captions of"):
        report = diptych.audit("pairs.csv", model=DeepBackbone(), clean="right.csv", rate=0.6, out="pairs.html")
    assert report.data["right_captions"] == {"rate": 0.6, "captions": 20, "source": "right.csv", "clothes": 0}
    assert report.remarks[0].startswith("1 of 2 captions stand out: ")
    assert report.remarks[0].endswith(" Of 2 right captions up to 2 would.")
    assert [row.right_share for row in report] == [11 / 21, 1.0], (
        "ten right pairs are each of the two, in other batches"
    )
    assert repr(report).splitlines()[-1] == report.remarks[0]
    assert "pairs.csv: captions against photos with" in Path("pairs.html").read_text()
    assert list(report.columns) == ["caption", "score", "cosine", "stands_out", "right_share", "wrong"]
    with pytest.warns(UserWarning, match="Give right ones with clean=: 19 or more"):
        diptych.audit.pairs("pairs.csv", model=DeepBackbone())


def test_captions_beside_photos_are_judged_as_those_of_a_table() -> None:
    photos = [Image.open(f"{name}.png") for name in ("red", "blue")]
    with pytest.warns(UserWarning, match="2 of 2 captions have a marked word"):
        report = diptych.audit(photos, ["a red wall", "a blue sea"], DeepBackbone(), choice="most-negative")
    with pytest.warns(UserWarning, match="2 of 2"):
        table = diptych.audit("pairs.csv", model=DeepBackbone(), choice="most-negative")
    assert [r.score for r in report] == [r.score for r in table]
    assert report.picture is not None
    assert report.picture(0) == photos[report[0].index].convert("RGB")


def test_captions_that_are_empty_or_too_long_are_named_and_the_others_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = TowerText.inputs

    def checked(self: TowerText, items: Sequence[str], size: int | None = None) -> Any:
        if any(len(text.split()) > CONTEXT - 2 for text in items):
            raise UsageError("A text is too long.")  # as released towers do here
        return read(self, items, size)

    monkeypatch.setattr(TowerText, "inputs", checked)
    rows = Path("pairs.csv").read_text()
    Path("some.csv").write_text(f"{rows}red.png,\nblue.png,{'sea ' * 300}\nred.png,  \n")
    Path("clean.csv").write_text(f"{Path('right.csv').read_text()}red.png,\n")
    asked = functools.partial(diptych.audit, model=DeepBackbone(), rate=0.6)
    with pytest.warns(UserWarning, match="measured on 20 right captions of"):
        some, every = asked("some.csv", clean="clean.csv"), asked("pairs.csv", clean="right.csv")
    assert [(Path(e.name).name, e.reason) for e in some.failed] == [
        ("red.png", "has no caption"), ("red.png", "has no caption"),
        ("blue.png", f"has a caption that is longer than {DeepBackbone().spec.name} reads"),
    ]  # fmt: skip
    assert [(r.index, r.score, r.cosine) for r in some] == [(r.index, r.score, r.cosine) for r in every]
    Path("none.csv").write_text("image,title\nred.png,\n")
    with pytest.raises(DataError, match=r"The only pair cannot be read: .*red\.png: has no caption"):
        asked("none.csv", clean="right.csv")
    with pytest.raises(DataError, match=r"name one with the captions \(text=\)"):
        asked("pairs.csv", text="absent")


def test_what_cannot_mean_anything_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="leave choice= and threshold= out"):
        diptych.audit("pairs.csv", clean="right.csv", threshold=0.0)
    with pytest.raises(UsageError, match="choice= must be one of 'threshold', 'most-negative', got 'lowest'"):
        diptych.audit("pairs.csv", choice="lowest")
    with pytest.raises(UsageError, match=r"out= writes \.csv, \.json or \.html, not 'p\.pdf'"):
        diptych.audit("pairs.csv", out="p.pdf")
