from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, UnreadableItem, UsageError
from diptych.data.addresses import (
    exists_at,
    fetched,
    files_at,
    is_file_at,
    opened_at,
    published,
)
from diptych.data.files import address_of, write_whole
from diptych.data.formats.embeddings import read_clip_retrieval
from diptych.data.formats.tars import open_tars
from diptych.data.load import open_stream
from tests.cli.conftest import diptych  # noqa: F401
from tests.data.formats.test_webdataset import damaged
from tests.support.colours import ColourBackbone
from tests.support.servers.s3 import BUCKET, s3_server
from tests.support.work.cluster import write_tars

ROOT = f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def s3(server: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in {**server, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return f"{ROOT}/{tmp_path.name}"


def put(folder: Path, address: str) -> None:
    with published(Path(address)) as local:
        os.symlink(folder, local)


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("s3://b/k.tar", "s3://b/k.tar"),
        (Path("s3://b/k.tar"), "s3://b/k.tar"),
        (Path("gs://b/a/{0..3}.tar"), "gs://b/a/{0..3}.tar"),
        (Path("file:///tmp/x"), "file:///tmp/x"),
        (Path("hdfs://host:8020/x"), "hdfs://host:8020/x"),
        ("photos/a.tar", None),
        (Path("/s3/x"), None),
        ("https://host/0.tar", None),
        ("demo:photos", None),
    ],
)
def test_addresses_are_known_also_as_paths(word: str | Path, address: str | None) -> None:
    assert address_of(word) == address


def test_what_writes_files_refuses_an_address() -> None:
    with pytest.raises(UsageError, match="s3://b/x is an address, and this writes files"):
        write_whole(Path("s3://b/x"), "text")


def test_files_go_there_and_come_back(s3: str, tmp_path: Path) -> None:
    (tmp_path / "own" / "deep er").mkdir(parents=True)
    (tmp_path / "own" / "a.txt").write_text("one")
    (tmp_path / "own" / "deep er" / "b.json").write_text("{}")
    assert not exists_at(Path(f"{s3}/x"))
    put(tmp_path / "own", f"{s3}/x")
    assert exists_at(Path(f"{s3}/x"))
    assert is_file_at(f"{s3}/x/a.txt")
    assert not is_file_at(f"{s3}/x")
    assert files_at(f"{s3}/x") == [f"{s3}/x/a.txt"]
    assert files_at(f"{s3}/x", (".tar",)) == []
    copy = fetched(f"{s3}/x")
    assert sorted(p.relative_to(copy).as_posix() for p in copy.rglob("*.*")) == ["a.txt", "deep er/b.json"]
    assert fetched(f"{s3}/x/a.txt").read_text() == "one"
    before = (copy / "a.txt").stat().st_ino
    assert (fetched(f"{s3}/x") / "a.txt").stat().st_ino == before, "it is copied once"
    (tmp_path / "own" / "a.txt").write_text("other")
    put(tmp_path / "own", f"{s3}/x")
    assert (fetched(f"{s3}/x") / "a.txt").read_text() == "other", "and again where it has changed"


def test_reads_seek_and_what_is_absent_has_a_number(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.data.addresses.BUFFER", 100)
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "blob").write_bytes(content)
    put(tmp_path / "blob", f"{s3}/blob")
    with opened_at(f"{s3}/blob") as file:
        assert file.read(7) == content[:7]
        file.seek(500)
        assert (file.tell(), file.read(300), file.read()) == (500, content[500:800], content[800:])
        assert (file.seek(2000), file.read(), file.seek(999), file.read()) == (2000, b"", 999, content[999:])
    with pytest.raises(FileNotFoundError) as absent:
        opened_at(f"{s3}/none")
    assert absent.value.errno
    with pytest.raises(UsageError, match="There is nothing at"):
        fetched(f"{s3}/none")


def test_a_block_that_fails_leaves_what_it_wrote_and_resume_brings_it(s3: str) -> None:
    def killed() -> None:
        with published(Path(f"{s3}/out")) as local:
            local.mkdir()
            (local / "part-0").write_text("x")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        killed()
    with published(Path(f"{s3}/out"), resume=True) as local:
        assert (local / "part-0").read_text() == "x"
        (local / "part-1").write_text("y")
    assert [a.rpartition("/")[2] for a in files_at(f"{s3}/out")] == ["part-0", "part-1"]


def test_a_storage_that_does_not_answer_is_an_error_of_the_data(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(DataError, match="cannot be reached"):
        is_file_at(f"{s3}/x")


def test_tars_are_streamed_from_there(s3: str, tmp_path: Path) -> None:
    spec = write_tars(tmp_path / "tars", 2, 5)
    put(tmp_path / "tars", f"{s3}/tars")
    names = sorted(p.name for p in (tmp_path / "tars").glob("*.tar"))
    here = [(at, item.members) for at, item in open_tars(spec, lambda error: None)]
    for remote in (f"{s3}/tars", "::".join(f"{s3}/tars/{name}" for name in names)):
        there = open_tars(remote, lambda error: None)
        assert [(at, item.members) for at, item in there] == here
        position = here[3][0]
        assert [at for at, _ in there.seek(position)] == [at for at, _ in here[3:]]
    stream = open_stream(f"{s3}/tars", pictures=False)
    assert stream.endings == {"txt"}  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="There is no tar"):
        open_tars(f"{s3}/tars/absent.tar")


def test_parquet_is_streamed_from_there(s3: str, tmp_path: Path) -> None:
    table = pa.table({"caption": [f"text {i}" for i in range(9)], "jpg": [b"x"] * 9})
    for number in range(2):
        pq.write_table(table, tmp_path / f"{number}.parquet", row_group_size=4)
        put(tmp_path / f"{number}.parquet", f"{s3}/pairs/{number}.parquet")
    stream = open_stream(f"{s3}/pairs", pictures=False)
    items = list(stream)
    assert [item.text() for _, item in items] == [f"text {i}" for i in range(9)] * 2
    assert [at for at, _ in stream.seek(items[13][0])] == [at for at, _ in items[13:]]
    assert len(list(open_stream(f"{s3}/pairs/1.parquet", pictures=False))) == 9


def test_the_command_line_reads_and_writes_there(s3: str, tmp_path: Path, diptych, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    spec = write_tars(tmp_path / "tars", 2, 5)
    put(tmp_path / "tars", f"{s3}/tars")
    asked = ("--method", "semdedup", "--engine", "torch", "--cache", "cache")
    answer = diptych("curate", "plan", f"{s3}/tars", "--out", f"{s3}/plan", "--json", *asked)
    assert answer.code == UnreadableItem.exit_code, "a picture is broken"
    assert answer.data["pairs"] == 10
    assert diptych("curate", "plan", f"{s3}/tars", "--out", f"{s3}/plan", *asked).code == 2, "it exists"
    assert f"{s3}/plan exists" in diptych("curate", "plan", f"{s3}/tars", "--out", f"{s3}/plan", *asked).err
    for source, plan, out in ((f"{s3}/tars", f"{s3}/plan", f"{s3}/kept"), (spec, "here", "kept")):
        if plan == "here":
            diptych("curate", "plan", source, "--out", plan, *asked)
        assert diptych("curate", "apply", source, "--plan", plan, "--out", out, *asked).code == 3
    assert diptych("curate", "apply", f"{s3}/tars", "--plan", f"{s3}/plan", "--out", f"{s3}/kept", *asked).code == 2
    there, here = (
        pq.read_table(folder / "part-00000.parquet").to_pylist() for folder in (fetched(f"{s3}/kept"), Path("kept"))
    )
    assert len(there) == len(here) > 0
    assert {row["title"] for row in there} <= {item.text() for _, item in open_tars(spec, lambda error: None)}
    encoded = diptych("encode", "demo:photos", "--out", f"{s3}/vectors", "--cache", "cache", "--json", "-b", "tiny")
    assert encoded.code == 0, encoded.err
    assert encoded.data["out"] == f"{s3}/vectors"
    assert len(read_clip_retrieval(fetched(f"{s3}/vectors")).items) == encoded.data["items"]
    indexed = diptych("index", f"{s3}/vectors", "--out", "idx", "--json", "-b", "tiny")
    assert (indexed.code, indexed.data["added"], indexed.data["encoded"]) == (0, encoded.data["items"], 0), indexed.err
    assert diptych("index", f"{s3}/vectors", "--out", "idx", "--json", "-b", "tiny").data["unchanged"] == 7


def test_a_damaged_tar_is_the_same_there_as_here(s3: str, tmp_path: Path, diptych: Any) -> None:  # noqa: F811
    root = damaged(tmp_path / "tars")
    put(root, f"{s3}/tars")
    range_ = "{00000..00002}.tar"
    read = [[(str(at), getattr(item, "name", str(item))) for at, item in open_tars(spec).outcomes()]
            for spec in (root, f"{s3}/tars", f"{s3}/tars/{range_}")]  # fmt: skip
    assert len(read[0]) > 6
    assert read[1] == read[2] == [(at, name.replace(str(root), f"{s3}/tars")) for at, name in read[0]]
    skipped, rows = [], []
    for spec, out in ((f"{root}/{range_}", "here"), (f"{s3}/tars/{range_}", "there")):
        result = diptych("encode", spec, "--backbone", "tiny", "--engine", "torch", "--out", str(tmp_path / out))
        assert result.code == UnreadableItem.exit_code, result.err
        facts = json.loads((tmp_path / out / "encode.json").read_text())
        base = spec.removesuffix(range_)
        skipped.append([(each["path"].replace(base, ""), each["reason"]) for each in facts["skipped"]])
        names = pq.read_table(tmp_path / out / "metadata" / "metadata_0.parquet").column("image_path").to_pylist()
        rows.append([name.replace(base, "") for name in names])
    assert skipped[0] == skipped[1]
    assert rows[0] == rows[1]
    assert (len(skipped[0]), len(rows[0])) == (5, 5)
    with pytest.raises(UsageError, match=r"There is nothing at .*00003\.tar"):
        fetched(f"{s3}/tars/{{00002..00003}}.tar")
