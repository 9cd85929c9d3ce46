from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diptych.core import Column, DataError, Run, Table, UsageError
from diptych.data.labelled import LabelledData
from diptych.nn.vector_head import load_head
from diptych.tasks.curate.heads import HELD_OUT, fit_labelled
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.backbone import SmallBackbone
from tests.support.colours import ColourBackbone, coloured
from tests.support.pictures import Pictures, picture

Cli = Callable[..., Any]
BACKBONE = SmallBackbone()


def data(*splits: str, count: int = 120) -> LabelledData:
    tables = {}
    for k, split in enumerate(splits):
        labels = np.arange(count) % 3
        images = tuple(picture(int(label), 1000 * k + i) for i, label in enumerate(labels))
        tables[split] = Table(Pictures(images), {"label": Column("label", labels.astype(np.int64))})
    return LabelledData("kinds", ("a", "b", "c"), tables)


def test_it_is_fitted_on_train_and_checked_on_val() -> None:
    head, failed = fit_labelled(data("train", "val", "test"), "b", BACKBONE, Run())
    assert failed == ()
    assert (len(head.val), int(head.right.sum()), head.name) == (120, 40, "b")
    assert head.backbone == BACKBONE.fingerprint
    assert head.val[head.right].mean() > head.val[~head.right].mean()
    test, _ = fit_labelled(data("train", "test"), "b", BACKBONE, Run())
    assert len(test.val) == 120


def test_of_one_split_a_share_is_held_out_by_content() -> None:
    whole = data("test", count=240)
    head, _ = fit_labelled(whole, "c", BACKBONE, Run())
    assert len(head.val) == pytest.approx(HELD_OUT * 240, abs=30)
    again, _ = fit_labelled(whole, "c", BACKBONE, Run())
    assert again.digest == head.digest
    other, _ = fit_labelled(whole, "c", BACKBONE, Run(seed=1))
    assert other.digest != head.digest


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="has no class 'x' to score high, only a, b, c"):
        fit_labelled(data("test"), "x", BACKBONE, Run())
    with pytest.raises(UsageError, match="has no classes, and so no 'x'"):
        fit_labelled(replace(data("test"), classes=()), "x", BACKBONE, Run())
    with pytest.raises(DataError, match="of each kind at least"):
        fit_labelled(data("test", count=30), "a", BACKBONE, Run())


def test_the_command_line_fits_a_head_and_keeps_by_it(
    diptych: Cli,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    rows = ["filepath,title"]
    for i in range(120):
        colour = ("red", "blue")[i % 2]
        coloured(tmp_path / "set" / colour / f"{i}.png", colour, i)
        rows.append(f"set/{colour}/{i}.png,a {colour} thing")
    (tmp_path / "pool.csv").write_text("\n".join(rows))
    asked = ("--engine", "torch", "--cache", "cache")
    answer = diptych("curate", "head", "set", "--positive", "red", "--seed", "1", "--json", *asked)
    assert answer.code == 0, answer.err
    assert answer.data["val_auc"] > 0.9
    assert load_head(tmp_path / "head.safetensors").name == "red"
    method = ("--method", "vector-head", "--head", "head.safetensors", *asked)
    assert diptych("curate", "plan", "pool.csv", "--out", "plan.json", *method).code == 0
    done = diptych("curate", "apply", "pool.csv", "--plan", "plan.json", "--threshold", "0.5", *method)
    assert done.code == 0, done.err
    kept = pq.read_table(tmp_path / "curated" / "part-00000.parquet").to_pylist()
    assert {row["title"] for row in kept} == {"a red thing"}
    shown = diptych("curate", "head", "set", "--positive", "red", "--overwrite", "--seed", "1", *asked)
    assert "AUC on held-out pictures" in shown.out
