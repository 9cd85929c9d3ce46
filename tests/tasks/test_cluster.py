"""Big runs on a local Ray of two workers: the bits of one process, and a killed worker loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import diptych as api
from diptych.backbones.sources.load import load
from diptych.core import DataError, DiptychError, Kit, MissingExtra, Run, Texts, UsageError
from diptych.data.load import open_data, open_stream
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.methods.segment.maskclip import MaskCLIP
from diptych.nn.dense.label_maps import Windows
from diptych.tasks import cluster
from diptych.tasks.cluster import Cluster, Home, each
from diptych.tasks.curate.plan import apply_plan
from diptych.tasks.curate.shards import apply_shards, cut, plan_in
from diptych.tasks.encode.cluster import Crew
from diptych.tasks.encode.write import encode
from tests.cli.conftest import diptych  # noqa: F401
from tests.support.colours import ColourBackbone
from tests.support.servers.s3 import BUCKET, s3_server
from tests.support.work.cluster import (
    DyingCurator,
    MixingBackbone,
    die,
    refuse,
    two_workers,
    usage_statistics,
    write_tars,
)

pytestmark = [
    pytest.mark.slow,
    # The lowest Ray leaves the files and processes of its monitors to the garbage collector, which complains.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Cli = Callable[..., Any]
ON = ("--cluster", "local:2")
TINY = ("--backbone", "tiny", "--engine", "torch")


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    pytest.importorskip("ray")
    with two_workers() as pool:
        yield pool


def vectors(out: Path) -> np.ndarray:
    return np.load(out / "img_emb" / "img_emb_0.npy")


def paths(out: Path) -> list[str]:
    return pq.read_table(out / "metadata" / "metadata_0.parquet").to_pydict()["image_path"]


def test_tars_get_the_bits_of_one_process_though_a_worker_is_killed(two: Cluster, tmp_path: Path) -> None:
    tars = write_tars(tmp_path / "tars", 4, 30)
    one = encode(open_data(tars), MixingBackbone(), Run(cache=tmp_path / "a", batch=7), tmp_path / "one")
    mark = tmp_path / "killed"
    load = partial(MixingBackbone, str(mark), os.getpid())
    many = encode(open_data(tars), load(), Run(cache=tmp_path / "b", batch=7), tmp_path / "many", crew=Crew(two, load))
    assert int(mark.read_text()) != os.getpid()
    np.testing.assert_array_equal(vectors(tmp_path / "many"), vectors(tmp_path / "one"))
    assert paths(tmp_path / "many") == paths(tmp_path / "one")
    assert [str(e) for e in many.failed] == [str(e) for e in one.failed]
    assert [e.name for e in one.failed] == [f"{tmp_path}/tars/000.tar!0000003.png"]
    assert many.items == 119
    # the encoder tells batches apart, so equality above is no accident
    other = encode(open_data(tars), MixingBackbone(), Run(cache=tmp_path / "c", batch=8), tmp_path / "other")
    assert other.items == 119
    assert not np.array_equal(vectors(tmp_path / "other"), vectors(tmp_path / "one"))
    again = encode(
        open_data(tars), load(), Run(cache=tmp_path / "b", batch=7), tmp_path / "again", crew=Crew(two, load)
    )
    assert again.encoded == 0


def test_a_parquet_table_and_texts(two: Cluster, tmp_path: Path) -> None:
    write_tars(tmp_path / "tars", 1, 20)
    whole = open_data(tmp_path / "tars").splits["test"].items
    rows = [{"bytes": whole.read(i)} for i in range(20)]  # type: ignore[attr-defined]
    pq.write_table(pa.table({"image": rows}), tmp_path / "p.parquet", row_group_size=8)
    one = encode(open_data(tmp_path / "p.parquet"), MixingBackbone(), Run(cache=tmp_path / "a"), tmp_path / "one")
    run = Run(cache=tmp_path / "b")
    many = encode(
        open_data(tmp_path / "p.parquet"), MixingBackbone(), run, tmp_path / "many", crew=Crew(two, MixingBackbone)
    )
    assert one.items == many.items == 19
    np.testing.assert_array_equal(vectors(tmp_path / "many"), vectors(tmp_path / "one"))
    texts = Texts(("red", "blue", "red"))
    encode(texts, ColourBackbone(), run, tmp_path / "texts", crew=Crew(two, ColourBackbone))
    encode(texts, ColourBackbone(), Run(cache=tmp_path / "a"), tmp_path / "text")
    one_by_one, by_workers = (np.load(tmp_path / out / "text_emb" / "text_emb_0.npy") for out in ("text", "texts"))
    np.testing.assert_array_equal(by_workers, one_by_one)
    assert by_workers.shape == (3, 4)


def test_workers_that_would_write_other_vectors_are_refused(two: Cluster, tmp_path: Path) -> None:
    data = open_data(write_tars(tmp_path / "tars", 1, 6))
    run = Run(cache=tmp_path / "c")
    with pytest.raises(UsageError, match="cache folder"):
        encode(data, ColourBackbone(), Run(), tmp_path / "o", crew=Crew(two, ColourBackbone))
    with pytest.raises(DiptychError, match="other vectors"):
        encode(data, ColourBackbone(), run, tmp_path / "o", crew=Crew(two, _Another))
    assert not (tmp_path / "o" / "encode.json").exists()


class _Another(ColourBackbone):
    """Of another fingerprint."""

    @property
    def encoders(self) -> Any:
        return {name: replace(encoder, fingerprint="other") for name, encoder in super().encoders.items()}


def test_errors_come_home(two: Cluster) -> None:
    assert two.size == 2
    with pytest.raises(DataError, match=r"^photo\.jpg cannot be used: give another\.$"):
        two.submit(refuse, "photo.jpg").result()
    with pytest.raises(ZeroDivisionError):
        two.submit(divmod, 1, 0).result()
    assert two.submit(usage_statistics).result() == "0"
    assert dict(each(two, pow, ((2, n) for n in range(9)))) == {n: 2**n for n in range(9)}
    with pytest.raises(UsageError, match="has a cluster already"):
        Cluster("local:1")
    with pytest.raises(UsageError, match="no folder"):
        two.submit(Home("/absent/folder").settle).result()
    with pytest.raises(DiptychError, match="install the same"):
        two.submit(Home("/", "0.0.0").settle).result()


def test_work_that_always_kills_its_worker_ends_with_an_error(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two, "_call", two._call.options(max_retries=1))
    with pytest.raises(DiptychError, match="Workers died"):
        two.submit(die).result()


def test_curation_counts_and_judges_as_one_process(two: Cluster, tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("cat\ndog\naxolotl")
    texts = [("an axolotl" if i % 50 == 0 else "a cat" if i % 3 else "IMG") + f" {i}" for i in range(2000)]
    (tmp_path / "pool.txt").write_text("\n".join(texts))
    curator, run, stream = (
        MetaCLIP(str(tmp_path / "entries.txt"), t=100),
        Run(seed=1),
        open_stream(str(tmp_path / "pool.txt")),
    )
    shards = cut(stream, 3000)
    assert len(shards) > 4
    whole = curator.plan(Kit(), stream, run)
    plan: Any
    with plan_in(tmp_path / "parts", curator, Kit, shards, run, {}, pool=two) as plan:
        pass
    np.testing.assert_array_equal(plan.counts, whole.counts)
    assert (plan.texts, plan.matched) == (whole.texts, whole.matched)
    one = apply_plan(curator, Kit(), plan, stream, run, tmp_path / "one", about={})
    many = apply_shards(curator, Kit, plan, shards, run, tmp_path / "many", two, about={}, part=100)
    assert (many.seen, many.kept, many.broken) == (one.seen, one.kept, one.broken)
    assert _kept(tmp_path / "many") == _kept(tmp_path / "one")
    assert sorted(p.name for p in (tmp_path / "many").glob("*.json")) == ["curate.json"]
    with pytest.raises(UsageError, match="resume"):
        apply_shards(curator, Kit, plan, shards, run, tmp_path / "many", two, about={}, part=100)
    assert (
        apply_shards(curator, Kit, plan, shards, run, tmp_path / "many", two, about={}, part=100, resume=True) == many
    )


def test_a_killed_worker_of_a_curation_loses_nothing(two: Cluster, tmp_path: Path) -> None:
    (tmp_path / "entries.txt").write_text("cat\ndog\naxolotl")
    texts = [("an axolotl" if i % 50 == 0 else "a cat" if i % 3 else "IMG") + f" {i}" for i in range(2000)]
    (tmp_path / "pool.txt").write_text("\n".join(texts))
    plain, run, stream = (
        MetaCLIP(str(tmp_path / "entries.txt"), t=100),
        Run(seed=1),
        open_stream(str(tmp_path / "pool.txt")),
    )
    shards = cut(stream, 6000)
    third = [position for position, _ in shards[2]]
    fatal = DyingCurator(plain.metadata, t=100, marks=str(tmp_path), at=third[250])
    whole: Any = plain.plan(Kit(), stream, run)
    plan: Any
    with plan_in(tmp_path / "parts", fatal, Kit, shards, run, {}, pool=two) as plan:
        pass
    np.testing.assert_array_equal(plan.counts, whole.counts)
    assert (plan.texts, plan.matched) == (whole.texts, whole.matched)
    one = apply_plan(plain, Kit(), plan, stream, run, tmp_path / "one", about={})
    many = apply_shards(fatal, Kit, plan, shards, run, tmp_path / "many", two, about={}, part=100)
    assert (many.seen, many.kept, many.broken) == (one.seen, one.kept, one.broken) == (2000, one.kept, 0)
    assert _kept(tmp_path / "many") == _kept(tmp_path / "one")
    dead = {int((tmp_path / mark).read_text()) for mark in ("plan", "apply")}
    assert os.getpid() not in dead
    begun = [int(line) for line in (tmp_path / "begun").read_text().split()]
    assert begun == [third[0], third[200]], "the two parts that were whole are not judged again"


def _kept(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("somewhere", "is not a cluster"),
        ("local:0", "is not a cluster"),
        ("ray://head:10001", "is not a cluster"),
        ("127.0.0.1:1", "No Ray cluster answers"),
    ],
)
def test_a_wrong_address_is_a_usage_error(address: str, says: str) -> None:
    pytest.importorskip("ray")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("ray.is_initialized", lambda: False)
        with pytest.raises(UsageError, match=says):
            Cluster(address)
    with pytest.raises(UsageError, match="at least 1 CPU"):
        Cluster("local", threads=0)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"\.\[scale\]"):
        cluster.Cluster("local:2")


@pytest.fixture
def cli(diptych: Cli, two: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cli:  # noqa: F811
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


def test_the_command_line_encodes(cli: Cli, handed: list[str], tmp_path: Path) -> None:
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


def test_the_command_line_answers_photo_by_photo(
    cli: Cli, handed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are handed three of seven photos at a time; files and numbers are those of one process."""
    # At 448 pixels a photo takes these towers seconds.
    monkeypatch.setattr(MaskCLIP, "__init__", partialmethod(MaskCLIP.__init__, windows=Windows(64, 64, 64)))
    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(7):
        blocks = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        blocks.resize((80, 64)).save(photos / f"{i}.png")
    (photos / "broken.png").write_bytes(b"broken")
    (tmp_path / "sentences.txt").write_text("a cat\na red car\ngrass\n")
    named = ("--names", "cat, car, grass", "--templates", "a {}.")
    for words in (
        ("classify", *named, "--batch", "3"),
        ("segment", *named, "--things", "cat"),
        ("detect", "--normal", str(photos), "--false-alarm-rate", "0.3", "--batch", "3"),
        ("caption", "--texts", "sentences.txt", "--batch", "3"),
    ):
        written = words[0] in ("segment", "detect")
        answers = []
        for cache, more in (("one", ()), ("many", ON)):
            out = ("--out", f"{words[0]}-{cache}") if written else ()
            done = cli(words[0], str(photos), *words[1:], *out, *TINY, "--cache", cache, "--json", *more)
            assert done.code == 3, "a photo is broken"
            answers.append(json.dumps(_without_times(done.data)).replace(f"{words[0]}-{cache}", "OUT"))
        assert answers[0] == answers[1], words[0]
        if written:
            one, many = (pictures_in(tmp_path / f"{words[0]}-{cache}") for cache in ("one", "many"))
            assert len(one) >= 7
            assert one == many
    assert {"encode_piece", "_piece"} <= set(handed)
    handed.clear()
    assert cli("index", str(photos), "--out", "photo-index", *TINY, "--cache", "third", *ON).code == 3
    assert "encode_piece" in handed
    assert cli("search", "a red car", "photo-index", "--json", "--cache", "third").code == 0
    refused = cli("classify", str(photos), *named, "--frames", "2", *TINY, *ON)
    assert refused.code == 2
    assert "Workers of a cluster encode photos, not clips: leave out --cluster." in refused.err


def test_functions_take_workers_too(cli: Cli, handed: list[str], tmp_path: Path) -> None:
    photos = [Image.new("RGB", (12, 9), name) for name in ("red", "green", "blue")]
    names, model = ["red", "green", "blue"], api.load("lite", engine="torch", cache=tmp_path / "a")
    one = api.classify(photos, names, model)
    assert not handed
    other = api.load("lite", engine="torch", cache=tmp_path / "b")
    many = api.classify(photos, names, other, cluster="local:2")
    assert list(one.labels) == list(many.labels) == names
    assert np.array_equal(one.probabilities, many.probabilities)
    assert "encode_piece" in handed
    with pytest.raises(UsageError, match=r"give out=, or leave out cluster="):
        api.encode(photos, cluster="local:2")


def pictures_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def _without_times(data: Any) -> Any:
    """Return the answer without seconds and rates, which differ by run."""
    if isinstance(data, dict):
        return {k: _without_times(v) for k, v in data.items() if k not in ("seconds", "timings", "images_per_second")}
    return [_without_times(v) for v in data] if isinstance(data, list) else data


def test_the_command_line_balances_texts(cli: Cli, handed: list[str], tmp_path: Path) -> None:
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
    assert _kept(tmp_path / "one") == _kept(tmp_path / "many")
    assert handed == ["plan_shard", "plan_shard", "apply_shard"]


def test_the_command_line_scores_pairs(cli: Cli, handed: list[str], tmp_path: Path) -> None:
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
    one, many = _kept(tmp_path / "0"), _kept(tmp_path / "1")
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


def test_the_command_line_refuses_a_wrong_address(diptych: Cli, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("ray")
    (tmp_path / "pool.txt").write_text("a cat")
    answer = diptych("curate", "plan", "pool.txt", "--cluster", "somewhere")
    assert answer.code == 2
    assert "is not a cluster" in answer.err


def test_workers_read_object_storage_and_a_killed_one_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with s3_server() as environment:
        own = {**os.environ, **environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "tests.support.work.s3_cluster", str(tmp_path), f"s3://{BUCKET}/pool"]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {**found, "kept": 0} == {"shards": 3, "streamed": True, "counts": True, "rows": True, "kept": 0, "died": 2}
    assert 0 < found["kept"] < 60
