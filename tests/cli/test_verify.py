"""Four of ImageNet's classes whose names hold a colour stand for the thousand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_data
from diptych.evaluation import verify as published
from diptych.evaluation.verify import compare
from tests.support.colours import COLOURS, ColourBackbone, coloured

Cli = Callable[..., Any]
CLASSES = {
    "n01677366": "green",
    "n02009229": "blue",
    "n02119022": "red",
    "n12057211": "yellow",
}  # iguana, heron, fox, slipper
REAL = json.loads(published.ROWS.read_text(encoding="utf-8"))
ROW = "ViT-B-32/openai"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for wnid, colour in CLASSES.items():
        for i in range(15):
            coloured(tmp_path / "val" / wnid / f"{i}.png", colour, i)
    return tmp_path / "val"


@pytest.fixture
def accuracy(photos: Path) -> float:
    """By another road: the nearest colour by cosine, in NumPy."""

    def centred(rgb: np.ndarray) -> np.ndarray:
        v = np.append(rgb - rgb.mean(), 0.05)
        return v / np.linalg.norm(v)

    heads = np.stack([centred(np.array(COLOURS[c]) / 255) for c in CLASSES.values()])
    hits = []
    for k, wnid in enumerate(CLASSES):
        for path in (photos / wnid).iterdir():
            pixels = np.asarray(Image.open(path).resize((8, 8)), dtype=np.float64) / 255
            hits.append(int(np.argmax(heads @ centred(pixels.mean(axis=(0, 1)))) == k))
    return float(np.mean(hits))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def write(value: float, items: int = 60, dataset: str = "imagenet1k") -> None:
        datasets = {dataset: {"classes": len(CLASSES), "items": items}}
        table = {
            "source": "a table",
            "datasets": datasets,
            "rows": [{"model": "ViT-B-32", "pretrained": "openai", dataset: value}],
        }
        (tmp_path / "rows.json").write_text(json.dumps(table))
        monkeypatch.setattr(published, "ROWS", tmp_path / "rows.json")

    return write


def test_it_reaches_the_published_number(
    diptych: Cli, photos: Path, accuracy: float, rows: Callable[..., None]
) -> None:
    rows(accuracy + 0.004)
    got = diptych("verify", "--data", photos, "--backbone", ROW, "--json")
    assert got.code == 0
    assert got.data["measured"] == pytest.approx(accuracy, abs=1e-9)
    assert 0.5 < accuracy < 1
    assert (got.data["row"], got.data["items"], got.data["of"], got.data["within"]) == (ROW, 60, 60, True)
    assert got.data["low"] < accuracy < got.data["high"]


@pytest.mark.parametrize("off", [0.006, -0.006, -0.3])
def test_another_number_breaks_the_bound(
    off: float, diptych: Cli, photos: Path, accuracy: float, rows: Callable[..., None]
) -> None:
    rows(accuracy + off)
    got = diptych("verify", "--data", photos, "--backbone", ROW)
    assert got.code == 5
    assert f"published  {100 * (accuracy + off):.2f} %" in got.out
    assert f"measured   {100 * accuracy:.2f} %  60 of 60 photos" in got.out
    assert "Not within 0.5 points (60 photos)" in got.err
    assert diptych("verify", "--data", photos, "--backbone", ROW, "--tolerance", "0.31").code == 0


def test_a_part_of_the_data_set_is_judged_by_its_interval(
    diptych: Cli, photos: Path, accuracy: float, rows: Callable[..., None]
) -> None:
    rows(accuracy + 0.01, items=50000)
    got = diptych("verify", "--data", photos, "--backbone", ROW)
    assert got.code == 0
    assert "part of the data set" in got.err
    rows(accuracy - 0.3, items=50000)
    assert diptych("verify", "--data", photos, "--backbone", ROW).code == 5


def test_local_weights_name_their_row(diptych: Cli, photos: Path, accuracy: float, rows: Callable[..., None]) -> None:
    rows(accuracy)
    for name in ("lite", "hf:openai/clip-vit-base-patch32"):
        got = diptych("verify", "--data", photos, "--backbone", name)
        assert got.code == 2
        assert f"give --row with one of {ROW}" in got.err
        assert diptych("verify", "--data", photos, "--backbone", name, "--row", "ViT-B/32").code == 0
    assert diptych("verify", "--data", photos, "--backbone", ROW, "--dataset", "cifar10").code == 2
    assert diptych("verify", "--data", "absent", "--backbone", ROW).code == 2


def test_missing_weights_offline_give_code_4(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from diptych.backbones.sources import load

    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert load.load.__module__ == "diptych.backbones.sources.load"
    got = diptych(
        "verify", "--data", photos, "--backbone", "ViT-B-32/laion2b_s34b_b79k", "--cache", tmp_path / "cache", "--json"
    )
    assert got.code == 4
    assert got.out == ""
    assert len(got.err.strip().splitlines()) == 1


def test_skipped_photos_are_named(diptych: Cli, photos: Path, accuracy: float, rows: Callable[..., None]) -> None:
    rows(accuracy, items=61)
    (photos / "n02119022" / "broken.png").write_bytes(b"x")
    got = diptych("verify", "--data", photos, "--backbone", ROW)
    assert got.code == 3
    assert "broken.png" in got.err
    for path in photos.rglob("*.png"):
        path.write_bytes(b"x")
    assert diptych("verify", "--data", photos, "--backbone", ROW).code == 1


def test_folders_of_another_data_set_are_named(photos: Path, rows: Callable[..., None]) -> None:
    rows(0.5)
    (photos / "n02119022").rename(photos / "fox")
    with pytest.raises(DataError, match="'fox' is none of them"):
        compare(open_data(photos), ColourBackbone(), Run(), row=ROW, dataset="imagenet1k")
    for path in (photos / "fox").iterdir():
        path.unlink()
    (photos / "fox").rmdir()
    with pytest.raises(DataError, match="here are 3"):
        compare(open_data(photos), ColourBackbone(), Run(), row=ROW, dataset="imagenet1k")


def test_numbered_folders_follow_their_number(photos: Path, accuracy: float, rows: Callable[..., None]) -> None:
    from timm.data import ImageNetInfo

    place = {name: i for i, name in enumerate(ImageNetInfo().label_names())}
    rows(accuracy, dataset="imagenetv2")
    for wnid in CLASSES:
        (photos / wnid).rename(photos / str(place[wnid]))
    assert sorted(p.name for p in photos.iterdir()) == ["131", "277", "39", "986"], "as text, 131 comes before 39"
    assert compare(open_data(photos), ColourBackbone(), Run(), row=ROW, dataset="imagenetv2").measured == pytest.approx(
        accuracy
    )


def test_the_rows_are_published_weights_and_fractions() -> None:
    import open_clip

    weights = set(open_clip.list_pretrained())
    for row in REAL["rows"]:
        assert (row["model"], row["pretrained"]) in weights
        assert all(0 < v < 1 for name, v in row.items() if name not in ("model", "pretrained"))
        for dataset in REAL["datasets"]:
            name, value = published.published(f"{row['model']}/{row['pretrained']}", dataset)
            assert (name, value) == (f"{row['model']}/{row['pretrained']}", row[dataset])
    assert published.published("ViT-B/32", "imagenet1k") == (ROW, 0.6332), (
        "OpenAI's own name, whose activation the tag implies"
    )
    with pytest.raises(UsageError, match="no published row for openclip:RN50-quickgelu/openai"):
        published.published("RN50/openai", "imagenet1k")
    assert all(re.fullmatch(r"[a-z0-9_-]+", name) for name in REAL["datasets"])
    assert len(open_clip.IMAGENET_CLASSNAMES) == 1000
