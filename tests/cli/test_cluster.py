"""``--cluster`` on the command line: the files of one process, by a local Ray of two workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diptych.tasks.cluster import Cluster
from tests.support.cluster_work import two_workers, write_tars

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    # The lowest Ray leaves the files and processes of its monitors to the garbage collector, which complains.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Cli = Callable[..., Any]
ON = ("--cluster", "local:2")


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    with two_workers() as pool:
        yield pool


@pytest.fixture
def cli(diptych: Cli, two: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, whose cluster is the one that runs; it is left as it is."""

    def running(address: str, threads: int, gpus: int) -> Any:
        assert (address, threads, gpus) == ("local:2", 1, 0)
        return contextlib.nullcontext(two)

    monkeypatch.setattr("diptych.tasks.cluster.Cluster", running)
    return diptych


@pytest.fixture
def handed(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the functions that workers were handed."""
    names, submit = list[str](), two.submit

    def noted(fn: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        names.append(fn.__name__)
        return submit(fn, *given, **named)

    monkeypatch.setattr(two, "submit", noted)
    return names


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_encode(cli: Cli, handed: list[str], tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 3, 12)
    one = cli("encode", tars, "--out", "one", "--batch", "5", "--json")
    many = cli("encode", tars, "--out", "many", "--batch", "5", "--cache", "other", "--json", *ON)
    assert one.code == many.code == 3, "a picture is broken"
    assert (many.data["items"], many.data["encoded"], many.data["skipped"]) == (35, 35, one.data["skipped"])
    np.testing.assert_array_equal(*(np.load(tmp_path / out / "img_emb" / "img_emb_0.npy") for out in ("one", "many")))
    assert "encode_piece" in handed
    (tmp_path / "texts.txt").write_text("red\nblue\n")
    assert cli("encode", "--texts", "texts.txt", "--out", "texts", *ON).code == 0
    assert np.load(tmp_path / "texts" / "text_emb" / "text_emb_0.npy").shape == (2, 4)


def test_curate_metaclip(cli: Cli, handed: list[str], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\naxolotl\ndog")
    (tmp_path / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(500)) + "\nIMG_1")
    (tmp_path / "more.txt").write_text("a dog\na cat")
    asked = ("--metadata", "names.txt")
    plans = [
        cli("curate", "plan", "pool.txt", "more.txt", "--out", f"{n}.parquet", "--json", *asked, *more).data
        for n, more in enumerate(((), ON))
    ]
    assert {**plans[0], "plan": ""} == {**plans[1], "plan": ""}
    assert (plans[1]["texts"], plans[1]["entries_met"]) == (503, 3)
    found = [
        cli(
            "curate", "apply", "pool.txt", "--plan", "1.parquet", "--t", "50", "--out", out, "--json", *asked, *more
        ).data
        for out, more in (("one", ()), ("many", ON))
    ]
    assert (found[0]["seen"], found[0]["kept"]) == (found[1]["seen"], found[1]["kept"])
    assert found[1]["seen"] == 501
    assert rows(tmp_path / "one") == rows(tmp_path / "many")
    assert handed == ["plan_shard", "plan_shard", "apply_shard"]


def test_curate_clip_score(cli: Cli, handed: list[str], tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 2, 10)
    asked = ("--method", "clip-score", "--engine", "torch")
    plans = [
        cli("curate", "plan", tars, "--out", f"{n}.json", "--cache", f"cache-{n}", "--json", *asked, *more).data
        for n, more in enumerate(((), ON))
    ]
    assert {**plans[0], "plan": ""} == {**plans[1], "plan": ""}
    assert (plans[1]["pairs"], plans[1]["broken"]) == (20, 1)
    for n, more in enumerate(((), ON)):
        done = cli(
            "curate",
            "apply",
            tars,
            "--plan",
            "1.json",
            "--share",
            "0.5",
            "--out",
            str(n),
            "--cache",
            f"cache-{n}",
            *asked,
            *more,
        )
        assert done.code == 3, "a picture is broken"
    one, many = rows(tmp_path / "0"), rows(tmp_path / "1")
    assert [(row["position"], row["filepath"]) for row in one] == [(row["position"], row["filepath"]) for row in many]
    np.testing.assert_allclose([row["score"] for row in one], [row["score"] for row in many], atol=1e-6)
    assert 5 <= len(many) <= 10
    assert handed == ["plan_shard"] * 2 + ["apply_shard"] * 2


def test_texts_without_pictures_are_a_usage_error_on_workers_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pool.txt").write_text("a cat\na dog")
    for more in ((), ON):
        found = cli("curate", "plan", "pool.txt", "--method", "clip-score", "--out", f"{len(more)}.json", *more)
        assert found.code == 2
        assert "texts alone" in found.err


def test_a_wrong_address_is_a_usage_error(diptych: Cli, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "pool.txt").write_text("a cat")
    found = diptych("curate", "plan", "pool.txt", "--cluster", "somewhere")
    assert found.code == 2
    assert "is no cluster" in found.err
