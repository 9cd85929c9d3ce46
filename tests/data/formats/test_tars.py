from __future__ import annotations

import gzip
import io
import os
import tarfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import webdataset

from diptych.core import UnreadableItem, UsageError
from diptych.data.formats import tars
from diptych.data.formats.tars import TarItem, TarStream, open_tars, shard_items
from tests.support.image_files import gradient
from tests.support.tars import by_webdataset


def tar_bytes(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    gradient().save(out, "PNG")
    return out.getvalue()


def shards(folder: Path, count: int = 3, items: int = 4) -> str:
    for s in range(count):
        with webdataset.TarWriter(str(folder / f"{s:05d}.tar")) as writer:
            for i in range(items):
                writer.write({"__key__": f"{s}/{i:03d}", "png": png(), "txt": f"text {s} {i}", "json": {"n": i}})
    return str(folder / f"{{00000..{count - 1:05d}}}.tar")


def test_same_items_as_webdataset(tmp_path: Path) -> None:
    pattern = shards(tmp_path)
    ours = [item for _, item in open_tars(pattern)]
    theirs = by_webdataset(sorted(tmp_path.glob("*.tar")))
    assert len(ours) == len(theirs) == 12
    for a, b in zip(ours, theirs, strict=True):
        assert a.name == f"{b['__url__']}!{b['__key__']}"
        assert dict(a.members) == {k: v for k, v in b.items() if not k.startswith("__")}
    assert ours[5].text() == "text 1 1"
    assert ours[5].record() == {"n": 1}
    assert ours[5].image().tobytes() == gradient().tobytes()


def test_a_folder_a_list_and_compressed_shards_are_the_same_stream(tmp_path: Path) -> None:
    pattern = shards(tmp_path, 2)
    want = [item.members for _, item in open_tars(pattern)]
    assert [i.members for _, i in open_tars(tmp_path)] == want
    assert [i.members for _, i in open_tars([tmp_path / "00000.tar", tmp_path / "00001.tar"])] == want
    assert [i.members for _, i in open_tars(f"{tmp_path}/00000.tar::{tmp_path}/00001.tar")] == want
    for s in range(2):
        (tmp_path / f"z{s}.tar.gz").write_bytes(gzip.compress((tmp_path / f"{s:05d}.tar").read_bytes()))
    assert [i.members for _, i in open_tars(f"{tmp_path}/z{{0,1}}.tar.gz")] == want


@pytest.mark.parametrize("cut", range(12))
def test_seek_goes_on_where_the_position_was(tmp_path: Path, cut: int) -> None:
    stream = open_tars(shards(tmp_path))
    whole = [(p, i.name) for p, i in stream]
    assert [p for p, _ in whole] == sorted({p for p, _ in whole})
    assert [(p, i.name) for p, i in stream.seek(whole[cut][0])] == whole[cut:]
    assert [(p, i.name) for p, i in islice(stream.seek(whole[cut][0]), 1, None)] == whole[cut + 1 :]


def test_positions_do_not_depend_on_other_shards(tmp_path: Path) -> None:
    stream = open_tars(shards(tmp_path))
    whole = [(p, i.name) for p, i in stream]
    (tmp_path / "00000.tar").write_bytes(b"")
    assert [(p, i.name) for p, i in stream.seek(whole[6][0])] == whole[6:]
    with pytest.raises(UsageError, match="no position"):
        stream.seek(3 * 2**32)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pipe:aws s3 cp x -", "is a command"),
        ("https://host/0.tar", "is a command or a web address"),
        ("{0..99999999}.tar", "more than 1,000,000"),
        ("{000..999}{000..999}{0..9}.tar", "more than 1,000,000"),
        ("{0..9.tar", "do not match"),
        ("{a,b{0..2}}.tar", "stand in one another"),
        ("absent-{0..1}.tar", "There is no tar absent-0.tar"),
        ("", "There is no tar"),
    ],
)
def test_shards_that_cannot_be_opened(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_tars(spec)


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tars in"):
        open_tars(tmp_path)


def link(kind: bytes, target: str = "/etc/passwd") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("b.txt")
        info.type, info.linkname = kind, target
        tar.addfile(info)
        good = tarfile.TarInfo("c.txt")
        good.size = 1
        tar.addfile(good, io.BytesIO(b"c"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message", "after"),
    [
        (tar_bytes([("../../b.txt", b"x"), ("c.txt", b"c")]), "leads outside", 1),
        (tar_bytes([("/b.txt", b"x"), ("c.txt", b"c")]), "leads outside", 1),
        (tar_bytes([("x\\..\\b.txt", b"x"), ("c.txt", b"c")]), "leads outside", 1),
        (tar_bytes([("b.txt", b"x" * 2000), ("c.txt", b"c")]), "2,000 bytes, more than the limit", 1),
        (tar_bytes([("b.txt", b"x" * 800), ("b.jpg", b"x" * 800), ("c.txt", b"c")]), "more than the limit", 1),
        (tar_bytes([("b.txt", b"x"), ("b.TXT", b"y"), ("c.txt", b"c")]), "occurs twice", 1),
        (link(tarfile.SYMTYPE), "a link", 1),
        (link(tarfile.LNKTYPE), "a link", 1),
        (link(tarfile.CHRTYPE), "a link, device", 1),
        (tar_bytes([("b.txt", b"x")])[:700], "damaged or truncated", 0),
        (tar_bytes([("b.txt", b"x")])[:1024], "end mark", 0),
        (b"these are words", "damaged or truncated", 0),
        (b"", "damaged or truncated", 0),
        (gzip.compress(tar_bytes([("b.txt", b"x")]), mtime=0)[:60], "damaged or truncated", 0),
    ],
)
def test_broken_members_are_named_and_passed_over(tmp_path: Path, data: bytes, message: str, after: int) -> None:
    (tmp_path / "0.tar").write_bytes(tar_bytes([("a.txt", b"a")]))
    (tmp_path / "1.tar").write_bytes(data)
    (tmp_path / "2.tar").write_bytes(tar_bytes([("d.txt", b"d")]))
    met: list[UnreadableItem] = []
    shards = tuple(str(tmp_path / f"{n}.tar") for n in range(3))
    got = [i.name[-1] for _, i in TarStream(shards, met.append, max_member=1000)]
    assert got == ["a", *["c"] * after, "d"]
    assert [message in str(e) for e in met] == [True]
    assert str(tmp_path / "1.tar") in met[0].name
    with pytest.raises(UnreadableItem, match=message):
        list(TarStream(shards, max_member=1000))


def test_outcomes_keep_the_place_of_what_is_broken_and_only_asked_members_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = b"x" * 50_000
    good = tar_bytes(
        [
            ("a.jpg", picture),
            ("a.txt", b"a"),
            ("b.jpg", picture),
            ("c.txt", b"c"),
            ("c.jpg", picture),
            ("../d.txt", b"d"),
        ]
    )
    (tmp_path / "0.tar").write_bytes(good)
    (tmp_path / "1.tar").write_bytes(tar_bytes([("e.txt", b"e"), ("f.jpg", picture), ("f.txt", b"f")])[:30_000])
    (tmp_path / "2.tar").write_bytes(tar_bytes([("g.txt", b"g")]))
    read = 0
    real = tars._Bounded.read

    def counted(self: tars._Bounded, size: int) -> bytes:
        nonlocal read
        read += size
        return real(self, size)

    monkeypatch.setattr(tars._Bounded, "read", counted)
    whole = open_tars(tmp_path)
    stream = replace(whole, endings=frozenset({"txt"}))
    found = [(p, str(item) if isinstance(item, UnreadableItem) else item.members) for p, item in stream.outcomes()]
    assert read < 20_000
    assert [p for p, _ in found] == [p for p, _ in whole.outcomes()] == [0, 1, 2, 3, 2**32, 2**32 + 1, 2**33]
    assert [m for _, m in found if not isinstance(m, str)] == [
        {"txt": b"a"},
        {},
        {"txt": b"c"},
        {"txt": b"e"},
        {"txt": b"g"},
    ]
    assert [m.partition(": ")[2][:20] for _, m in found if isinstance(m, str)] == [
        "its name leads outsi",
        "damaged or truncated",
    ]
    for position in (1, 3, 2**32 + 1):
        assert [p for p, _ in stream.seek(position).outcomes()] == [p for p, _ in found if p >= position]
    with pytest.raises(UnreadableItem, match=r"b: has no \.txt$"):
        TarItem("b", {}).text()


def test_garbage_in_the_middle_is_no_silent_end(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([("a.txt", b"a"), ("b.txt", b"b"), ("c.txt", b"c")]))
    data[1024 + 150] ^= 0xFF  # in the second header's checksum
    (tmp_path / "0.tar").write_bytes(data)
    assert len(by_webdataset([tmp_path / "0.tar"])) < 3  # says nothing
    assert isinstance(list(shard_items(str(tmp_path / "0.tar")))[-1][1], UnreadableItem)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member, and a header's extension, that promise 1 GiB of zeros."""
    largest = 0
    read = gzip.GzipFile.read

    def watched(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal largest
        data = read(self, size)
        largest = max(largest, len(data))
        return data

    monkeypatch.setattr(gzip.GzipFile, "read", watched)
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("a.txt")
        info.type, info.size = kind, 2**30
        with gzip.open(tmp_path / "0.tar.gz", "wb", compresslevel=1) as file:
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            file.write(bytes(2**22))
        with pytest.raises(UnreadableItem, match=r"more than the limit|at once"):
            list(TarStream((str(tmp_path / "0.tar.gz"),), max_member=2**20))
    assert largest <= 2**20 + 512


def test_items_say_what_they_lack() -> None:
    item = TarItem("0.tar!a", {"bin": b"\xff", "json": b"{"})
    for call, message in ((item.image, "no picture"), (item.text, "no .txt"), (item.record, "not valid JSON")):
        with pytest.raises(UnreadableItem, match=message):
            call()
    with pytest.raises(UnreadableItem, match="not UTF-8"):
        item.text("bin")
    with pytest.raises(UnreadableItem, match=r"0\.tar!a\.jpg: not a picture"):
        TarItem("0.tar!a", {"jpg": b"words"}).image()


def test_the_source_of_items_tells_tars_positions_and_members(tmp_path: Path) -> None:
    pattern = shards(tmp_path)
    stream = open_tars(pattern)
    pairs = list(stream)
    assert stream.source(pairs) == "", "they were written just now"
    for path in tmp_path.glob("*.tar"):
        os.utime(path, (1, 1))
    sources = [stream.source(some) for some in (pairs, pairs[1:], pairs[:5], pairs[:6])]
    sources.append(replace(stream, endings=frozenset(("png", "txt"))).source(pairs))
    assert all(sources)
    assert len({*sources}) == 5
    assert str(tmp_path / "00002.tar") in sources[0]
    assert str(tmp_path / "00002.tar") not in sources[2]
    assert stream.source(pairs) == sources[0]
    os.utime(tmp_path / "00001.tar", (2, 2))
    assert stream.source(pairs) != sources[0]
    assert stream.source(pairs[:4]) == open_tars(pattern).source(pairs[:4])
    (tmp_path / "00001.tar").unlink()
    assert stream.source(pairs) == ""
