"""The proof of RS-M-CLIP, on coloured squares with names in three languages and a small random CLIP: the bench, not the
claim.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from diptych.core import NotAvailable
from diptych.methods.pretrain.rs_m_clip import RSMCLIP
from proofs.benches.training import languages
from proofs.benches.training.languages import FIT, find_named, open_named, recalls
from proofs.pretrain import TRIALS
from tests.support.proofs import judged
from tests.train.test_pair import RUN, small

NUMBER = 8


def picture(colour: tuple[int, int, int]) -> bytes:
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[4:12, 4:12] = (*colour, 255)
    file = io.BytesIO()
    Image.fromarray(rgba).save(file, "png")
    return file.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = []
    for i in range(NUMBER):
        names = {"name_en": f"thing {i}", "name_ru": f"вещь {i}" if i else "вещь X", "name_zh": f"物{i}"}
        pictures = {"png_google": picture((30 * i, 0, 255)), "png_twitter": picture((30 * i, 9, 250))}
        rows.append({"group": "animals" if i == 1 else "flags", **names, **pictures})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "emoji.parquet")
    return tmp_path


def test_things_have_a_name_in_every_language_and_none_in_latin_letters(table: Path) -> None:
    data = find_named(str(table))
    assert sorted(data.names["en"]) == [f"thing {i}" for i in range(2, NUMBER)]  # 0 is written with an X, 1 is no flag
    assert data.learnt[0].getpixel((0, 0)) == (255, 255, 255)
    assert data.learnt[0].getpixel((8, 8)) != data.test[0].getpixel((8, 8))


def test_translations_move_and_english_stays(table: Path) -> None:
    data = find_named(str(table))
    order = [1, 2, 3, 4, 5, 0]
    moved = data.rows(("en", "ru"), order).columns["captions"].values
    assert [c[0] for c in moved] == list(data.names["en"])
    assert [c[1] for c in moved] == [data.names["ru"][j] for j in order]


def test_recall_counts_both_directions(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = find_named(str(table))
    image, text = torch.eye(6), torch.eye(6)
    text[0] = text[1]  # name 0 finds picture 1; pictures 0 and 1 find no name of their own before another's
    monkeypatch.setattr(languages, "_unit", lambda encoder, items: image if encoder == "image" else text)
    space = type("Space", (), {"image": "image", "text": "text"})()
    assert recalls(space, data.test, data.names)["en"].tolist() == [0, 0.5, 1, 1, 1, 1]


def test_the_bench_measures_every_arm(table: Path) -> None:
    method = RSMCLIP(crops=1, small=0.5, hidden=8, bottleneck=4, prototypes=6)
    trial = replace(TRIALS["rs-m-clip"], bench=partial(open_named, method=method, fit=replace(FIT, batch=4, steps=2)))
    verdict = judged(trial, "rs-m-clip", str(table), small(), RUN, (1, 2, 3))
    (claim,), (control,) = verdict["claims"], verdict["controls"]
    assert verdict["items"] == 6
    assert claim["method"]["recall_at_1"] == pytest.approx(claim["baseline"]["recall_at_1"] + claim["gain"])
    assert control["control"]["recall_at_1"] == pytest.approx(1 / 6 + control["gain"])
    assert claim["method"]["recall_at_1"] == pytest.approx((claim["method"]["ru"] + claim["method"]["zh"]) / 2)
    assert [b["name"] for b in verdict["beside"]] == ["without crops", "English names, of English alone"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="emoji"):
        find_named(str(tmp_path))
