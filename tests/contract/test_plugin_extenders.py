"""An extender of another package goes every road: extend, its folder, classify, index, search, boards and serve."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.core import DataError, Kit
from diptych.features.spaces import load_space
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.plugin import ToneSpace, installed, tones
from tests.support.small_clip import small_clip
from tests.tasks.test_extend import clips, right  # noqa: F401

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    return vit


def road(diptych: Cli, data: Path, one: Path, slug: str, tmp_path: Path, *more: str) -> Any:  # noqa: F811
    """Go from labelled samples to answers of an index; return the answer of ``extend``."""
    out, idx = tmp_path / "out", tmp_path / "idx"
    got = diptych("extend", data, "--method", slug, *more, "--out", out, "--json")
    assert got.code == 0, got.err
    assert slug in got.data["right"]
    used = diptych("classify", data / "test", "--model", out, "--json", "-k", "1")
    assert used.code == 0, used.err
    assert right(used) == got.data["right"][slug]
    indexed = diptych("index", data / "test", "--backbone", f"space:{out}", "--out", idx, "--json")
    assert (indexed.code, indexed.data["added"]) == (0, got.data["tested"]), indexed.err
    again = diptych("index", data / "test", "--out", idx, "--json")  # with the space of the index
    assert again.data["unchanged"] == got.data["tested"], again.err
    for query in (one, "some words"):
        answer = diptych("search", idx, query, "--json")
        assert answer.code == 0, answer.err
        assert len(answer.data["results"]) == min(10, got.data["tested"])
    by_sample = diptych("search", idx, one, "--json").data["results"]
    assert {r["path"]: r["score"] for r in by_sample}[str(one)] == pytest.approx(1, abs=1e-5)
    return got


def test_clips_of_a_plug_in(diptych: Cli, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    got = road(diptych, clips, clips / "test/red/clip1", "shifted-frames", tmp_path, "--frames", "2")
    assert list(got.data["right"]) == ["frame-mean", "shifted-frames"]
    board = diptych(
        "board", "extend", clips, "--methods", "frame-mean,shifted-frames", "--seeds", "1", "--frames", "2", "--json",
        "--out", tmp_path / "board",
    )  # fmt: skip
    assert board.code == 0, board.err
    rows = {row["method"]: row["acc1"] for row in board.data["rows"]}
    assert rows["shifted-frames"] == got.data["right"]["shifted-frames"] / got.data["tested"]


def test_a_modality_of_a_plug_in(diptych: Cli, backbone: Any, tmp_path: Path) -> None:  # noqa: F811
    data = tones(tmp_path / "tones")
    got = road(diptych, data, data / "test/low/1.tone", "tone-map", tmp_path)
    assert got.data["right"] == {"tone-map": 9}  # three numbers are enough for least squares
    assert isinstance(load_space(tmp_path / "out", Kit({"main": backbone})), ToneSpace)
    alone = diptych("extend", data, "--out", tmp_path / "default", "--json")  # the only system of tones
    assert alone.data["method"] == "tone-map", alone.err
    wrong = diptych("extend", data, "--method", "ila", "--out", tmp_path / "x")
    assert (wrong.code, "ila learns from clips, and these are tones: take tone-map" in wrong.err) == (2, True)
    board = diptych("board", "extend", data, "--seeds", "1", "--json", "--out", tmp_path / "board")
    assert {row["method"]: row["acc1"] for row in board.data["rows"]}["tone-map"] == 1, board.err


def test_without_the_package_its_folder_says_what_to_install(
    diptych: Cli,  # noqa: F811
    backbone: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    assert diptych("extend", tones(tmp_path / "tones"), "--out", out).code == 0
    for place in ("importlib.metadata", "diptych.core.entry_points"):
        monkeypatch.setattr(f"{place}.entry_points", lambda group: [])
    with pytest.raises(DataError, match=r"'[a-z-]+:ToneSpace', .* install its package"):
        load_space(out, Kit({"main": backbone}))
    got = diptych("classify", tmp_path / "tones", "--model", out)
    assert (got.code, "no modality 'tones'" in got.err) == (2, True), got.err


@pytest.mark.skipif(find_spec("starlette") is None or find_spec("httpx") is None, reason="needs the extra serve")
def test_plug_ins_are_served(diptych: Cli, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    from starlette.testclient import TestClient

    from diptych.api.model import Model
    from diptych.backbones.sources import load as load_backbone
    from diptych.core import Run
    from diptych.serve.assembly import Content, server
    from diptych.serve.opening import check_folders, open_classifier, open_index, open_model
    from diptych.serve.settings import Settings
    from diptych.tasks.runs import open_backbone

    data, run, backbone = tones(tmp_path / "tones"), Run(), load_backbone.load("lite")
    folders = {"tone-map": tmp_path / "tone", "shifted-frames": tmp_path / "clip"}
    for slug, source in (("tone-map", data), ("shifted-frames", clips)):
        got = diptych("extend", source, "--method", slug, "--out", folders[slug])
        assert got.code == 0, got.err
    name = f"space:{folders['tone-map']}"
    assert diptych("index", data / "test", "--backbone", name, "--out", tmp_path / "idx").code == 0
    check_folders([], folders.values())
    models = [
        open_model("photos", Model(backbone, run), run),
        open_model("tones", open_backbone(name, run, spaces=True), run),
    ]
    classifiers = {slug: open_classifier(folder, models) for slug, folder in folders.items()}
    content = Content(models, {"idx": open_index(tmp_path / "idx", models)}, classifiers)
    tone = (data / "test/high/0.tone").read_bytes()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(picture, "PNG")
    files = {"tone-map": tone, "shifted-frames": picture.getvalue()}
    sent = {slug: base64.b64encode(file).decode() for slug, file in files.items()}
    with TestClient(server(Settings(), content), base_url="http://127.0.0.1") as client:
        labels = {}
        for slug, item in sent.items():
            answer = client.post("/v1/classify", json={"images": [item], "classifier": slug, "top": 1})
            assert answer.status_code == 200, answer.text
            labels[slug] = answer.json()["predictions"][0]["labels"][0]["label"]
        assert labels["tone-map"] == "high"
        assert labels["shifted-frames"] in ("red", "blue")
        zero_shot = {"images": [sent["tone-map"]], "labels": ["low", "middle", "high"], "model": "tones", "top": 1}
        answer = client.post("/v1/classify", json={**zero_shot, "templates": ["a photo of a {}."]})
        assert answer.json()["predictions"][0]["labels"][0]["label"] == "high", answer.text
        response = client.post("/v1/search", json={"query": [{"image": sent["tone-map"]}], "index": "idx", "top": 3})
        assert response.json()["results"][0]["path"] == str(data / "test/high/0.tone"), response.text
        broken = base64.b64encode(b"no numbers").decode()
        refused = client.post("/v1/classify", json={"images": [broken], "classifier": "tone-map"})
        assert (refused.status_code, "holds no numbers" in refused.text) == (422, True), refused.text
