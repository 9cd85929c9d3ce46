from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.backbones.engines.runners import plain_version
from diptych.backbones.engines.runtimes.report import torch_version
from diptych.cli.cache import size_of, sized
from diptych.core import UsageError
from diptych.data.keys import FileKeys

Cli = Callable[..., Any]


@pytest.fixture
def used(diptych: Cli, colours: Path, tmp_path: Path) -> Path:
    """The cache folder after photos, and later names, were encoded hours ago."""
    diptych("encode", colours, "--out", "emb")
    (tmp_path / "texts.txt").write_text("red\nblue\n")
    diptych("encode", "--texts", "texts.txt", "--out", "emb2")
    folder = tmp_path / "cache"
    hours = {"image": 5, "text": 2}
    for space in diptych("cache", "list", "--json").data["spaces"]:
        then = time.time() - 3600 * hours[space["facts"]["modality"]]
        for part in ("space.json", "plans", "shards"):
            os.utime(folder / "embeddings" / space["space"] / part, (then, then))
    return folder


def test_list_says_what_there_is(diptych: Cli, used: Path) -> None:
    data = diptych("cache", "list", "--json").data
    assert [(s["facts"]["modality"], s["vectors"]) for s in data["spaces"]] == [("image", 70), ("text", 2)]
    assert data["bytes"] == sum(s["bytes"] for s in data["spaces"]) > 0
    assert data["foreign"] == []
    got = diptych("cache", "list")
    assert got.code == 0
    assert f"2 spaces, {sized(data['bytes'])}" in got.out
    assert "image" in got.out
    (used / "embeddings" / "notes.txt").write_text("mine")
    assert "notes.txt" in diptych("cache", "list").err


def test_an_empty_cache_is_no_error(diptych: Cli) -> None:
    assert diptych("cache", "list", "--json").data["spaces"] == []
    assert diptych("cache", "list").out.startswith("0 spaces, 0 B in ")
    assert diptych("cache", "prune", "--max-size", "0").code == 0
    assert diptych("cache", "move", "elsewhere").code == 2


def test_prune_takes_the_oldest_first_and_says_so_before(diptych: Cli, used: Path, colours: Path) -> None:
    image, text = diptych("cache", "list", "--json").data["spaces"]
    limit = f"{text['bytes']}B"
    told = diptych("cache", "prune", "--max-size", limit, "--dry-run", "--json").data
    assert [s["space"] for s in told["removed"]] == [image["space"]]
    assert told["bytes_left"] == text["bytes"]
    assert len(diptych("cache", "list", "--json").data["spaces"]) == 2
    assert (
        f"would remove {image['space'][:12]}, 70 vectors"
        in diptych("cache", "prune", "--max-size", limit, "--dry-run").out
    )
    got = diptych("cache", "prune", "--max-size", limit)
    assert got.code == 0
    assert got.out.startswith(f"removed {image['space'][:12]}, 70 vectors")
    assert [s["space"] for s in diptych("cache", "list", "--json").data["spaces"]] == [text["space"]]
    assert diptych("encode", colours, "--out", "emb", "--overwrite").code == 0
    assert len(diptych("cache", "list", "--json").data["spaces"]) == 2


def test_prune_leaves_what_is_in_use(diptych: Cli, used: Path, colours: Path) -> None:
    diptych("encode", colours, "--out", "emb", "--overwrite")
    answer = diptych("cache", "prune", "--max-size", "0", "--dry-run", "--json")
    got = diptych("cache", "prune", "--max-size", "0", "--json")
    assert answer.code == 3
    assert answer.data["in_use"] == got.data["in_use"]
    assert answer.data["removed"] == got.data["removed"]
    assert got.code == 3
    assert [s["facts"]["modality"] for s in got.data["removed"]] == ["text"]
    assert [s["facts"]["modality"] for s in got.data["in_use"]] == ["image"]
    assert "used just now" in got.err
    assert diptych("cache", "prune", "--max-size", "0", "--idle", "0").code == 0
    assert diptych("cache", "list", "--json").data["spaces"] == []


def test_prune_refuses_what_is_no_size_and_without_one_deletes_no_embedding(diptych: Cli, used: Path) -> None:
    assert diptych("cache", "prune", "--max-size", "much").code == 2
    assert diptych("cache", "prune", "--json").data["removed"] == []
    assert len(diptych("cache", "list", "--json").data["spaces"]) == 2


def test_move_takes_embeddings_and_content_keys(
    diptych: Cli, used: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = diptych("cache", "list", "--json").data["spaces"]
    assert "would move 2 spaces" in diptych("cache", "move", "new", "--dry-run").out
    assert not Path("new").exists()
    got = diptych("cache", "move", "new")
    assert got.code == 0
    assert f"DIPTYCH_CACHE={Path('new').absolute()}" in got.out  # wherever it is set
    assert diptych("cache", "list", "--json").data["spaces"] == []
    assert diptych("cache", "list", "--cache", "new", "--json").data["spaces"] == before
    assert sorted(p.name for p in used.iterdir()) == [
        "embeddings",
        "engines",
    ]  # engines are made anew where they are missing
    monkeypatch.setenv("DIPTYCH_CACHE", "new")
    with FileKeys(Path("new/keys.sqlite")) as keys:
        keys.key(next(colours.rglob("*.png")))
        assert keys.hashed == 0
    assert "all from the cache" in diptych("encode", colours, "--out", "emb", "--overwrite").err


def test_move_leaves_what_is_in_use(diptych: Cli, used: Path, colours: Path) -> None:
    diptych("encode", colours, "--out", "emb", "--overwrite")
    answer = diptych("cache", "move", "new", "--dry-run", "--json")
    got = diptych("cache", "move", "new", "--json")
    assert (answer.code, got.code) == (3, 3)
    assert answer.data["moved"] == got.data["moved"]
    assert [s["facts"]["modality"] for s in got.data["moved"]] == ["text"]
    assert (used / "keys.sqlite").exists()
    assert diptych("cache", "move", "new", "--idle", "0").code == 0
    assert not (used / "keys.sqlite").exists()
    assert diptych("cache", "move", "new/embeddings", "--cache", "new").code == 2


def test_a_shared_cache_is_read_first(diptych: Cli, used: Path, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_SHARED_CACHE", str(used))
    got = diptych("encode", colours, "--out", "emb", "--overwrite", "--cache", "own")
    assert "all from the cache" in got.err
    assert diptych("cache", "list", "--cache", "own", "--json").data["bytes"] < 1000
    monkeypatch.setenv("DIPTYCH_SHARED_CACHE", "absent")
    got = diptych("encode", colours, "--out", "emb", "--overwrite", "--cache", "own")
    assert got.code == 2
    assert "no embedding cache" in got.err


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("12", 12),
        ("500MB", 5 * 10**8),
        ("1.5 g", 1_500_000_000),
        ("2GiB", 2 * 2**30),
        ("3KI", 3072),
        ("1T", 10**12),
        ("7B", 7),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert size_of(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "5 apples", "1,5GB", "5IB"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--max-size takes a size"):
        size_of(text)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**9, "2.0 GB"), (3 * 10**15, "3000.0 TB")]
)
def test_sizes_are_shown(count: int, text: str) -> None:
    assert sized(count) == text


def test_prepared_encoders_are_listed_and_pruned_by_last_use(diptych: Cli, used: Path) -> None:
    """The colour encoder has no graph, so what is there holds a refusal; one with a graph is laid beside it."""
    engines = used / "engines"
    large = engines / f"{'ab' * 8}-graph-torch-2.0"
    large.mkdir(parents=True)
    (large / "model.onnx").write_bytes(b"x" * 5000)
    (large / "facts.json").write_text("{}")
    (large / "mine.txt").write_text("mine")
    (engines / "notes").mkdir()
    draft = engines / f".{'ab' * 8}-onnxruntime-1.0-fp32.7.7"
    draft.mkdir()
    old = time.time() - 10 * 3600
    for place in (large / "model.onnx", large / "facts.json", large, draft):
        os.utime(place, (old, old))
    listed = diptych("cache", "list", "--json").data
    assert (large.name, 5002) in [(e["export"], e["bytes"]) for e in listed["engines"]]
    shown = diptych("cache", "list").out
    assert "Outdated, which 'diptych cache prune' deletes: 2, 5.0 kB" in shown
    assert f"abababababab graph-torch-2.0: of torch 2.0; installed: {plain_version(torch_version())}" in shown
    assert "abababababab onnxruntime-1.0-fp32 (unfinished): unfinished" in shown
    told = diptych("cache", "prune", "--dry-run", "--json").data["removed"]
    assert [e["export"] for e in told] == [e["export"] for e in listed["engines"] if e["outdated"]]
    assert {e["export"] for e in told} == {large.name, draft.name}
    total = listed["bytes"] + sum(e["bytes"] for e in listed["engines"])
    assert (
        "would remove abababababab graph-torch-2.0, 5.0 kB"
        in diptych("cache", "prune", "--max-size", f"{total - 1}B", "--dry-run").out
    )
    assert (large / "model.onnx").exists()
    left = diptych("cache", "prune", "--max-size", f"{total - 1}B", "--json").data
    assert left["bytes_left"] == total - 5002
    assert len(diptych("cache", "list", "--json").data["spaces"]) == 2
    assert sorted(p.name for p in large.iterdir()) == ["mine.txt"]
    assert (engines / "notes").is_dir()
    assert not draft.exists()
