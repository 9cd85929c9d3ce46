from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diptych.core import DataError, UsageError
from diptych.data.load import open_records
from diptych.data.records.parts import root
from diptych.data.records.records import Records, joined, stamp


def jpeg(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 9), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in (("a.jpg", "red"), ("trip/b.jpg", "blue"), ("trip/far/c.jpg", "green")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(jpeg(colour))
    return tmp_path / "photos"


def test_a_folder_gives_all_pictures_below_it(photos: Path) -> None:
    records = open_records(str(photos))
    assert [Path(n).name for n in records.names] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [f["folder"] for f in records.facts] == [".", "trip", "trip/far"]
    assert records[1].text is None
    assert records[1].image is not None
    assert records.images.key(0) == hashlib.sha256((photos / "a.jpg").read_bytes()).hexdigest()


def test_a_table_gives_pictures_texts_and_typed_facts(photos: Path) -> None:
    (photos / "t.csv").write_text(
        "path,caption,year,code,note\na.jpg,a red one,1990,007,x\n,only words,2001,12,\ntrip/b.jpg,,1991,3,y\n"
    )
    records = open_records(str(photos / "t.csv"))
    assert records.texts == ("a red one", "only words", None)
    assert records.places == (0, None, 1)
    assert records.facts == (
        {"year": 1990, "code": "007", "note": "x"},
        {"year": 2001, "code": "12"},
        {"year": 1991, "code": "3", "note": "y"},
    )
    assert records.names[0] == str(photos / "a.jpg")
    assert records.names[1].endswith("t.csv[1]")
    assert open_records(str(photos / "t.csv"), text="note").texts == ("x", None, "y")
    assert len({records.key(i) for i in range(3)}) == 3
    assert records.only("text").places == (None,) * 3
    assert records.take([2, 0]).names == (records.names[2], records.names[0])


def test_a_tar_and_a_parquet_file_give_what_they_hold(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as tar:
        for name, data in (
            ("x/1.jpg", jpeg("red")),
            ("x/1.txt", b"red"),
            ("x/1.json", json.dumps({"year": 3, "deep": []}).encode()),
            ("2.png", jpeg("blue")),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    records = open_records(str(tmp_path / "p.tar"))
    assert records.texts == ("red", None)
    assert records.facts == ({"year": 3}, {})
    assert records.names[0].endswith("p.tar!x/1.jpg")
    assert np.asarray(records.images[0])[0, 0, 0] > 200
    pq.write_table(
        pa.table({"image": [{"bytes": jpeg("red"), "path": None}], "caption": ["r"], "n": [4]}), tmp_path / "p.parquet"
    )
    rows = open_records(str(tmp_path / "p.parquet"))
    assert (rows.texts, rows.facts) == (("r",), ({"n": 4},))
    both = joined((records, rows))
    assert both.texts == ("red", None, "r")
    assert both.images.key(2) == rows.images.key(0)
    assert stamp(records.names[0]) == stamp(str(tmp_path / "p.tar")) != ""
    assert stamp(rows.names[0]) == stamp(str(tmp_path / "p.parquet")) != ""
    assert stamp("none") == ""


def test_metadata_of_a_folder_or_of_its_split_folders_is_read_by_any_column_of_pictures(tmp_path: Path) -> None:
    for folder in ("one", "several/train", "several/test", "words"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").write_bytes(jpeg("red"))
    (tmp_path / "one" / "metadata.csv").write_text("path,caption,year\na.jpg,a red one,1990\n")
    records = open_records(str(tmp_path / "one"))
    assert (records.texts, records.facts) == (("a red one",), ({"year": 1990},))
    for split in ("train", "test"):
        line = json.dumps({"file_name": "a.jpg", "caption": f"{split} one"})
        (tmp_path / "several" / split / "metadata.jsonl").write_text(line)
    records = open_records(str(tmp_path / "several"))
    assert dict(zip(records.texts, records.facts, strict=True)) == {
        "train one": {"split": "train"}, "test one": {"split": "test"},
    }  # fmt: skip
    (tmp_path / "words" / "metadata.jsonl").write_text('{"caption": "an image at a path"}\n')  # of no picture
    assert open_records(str(tmp_path / "words")).facts == ({"folder": "."},)


def test_tars_below_a_folder_are_read_and_others_are_named_or_passed_over(tmp_path: Path) -> None:
    def packed(name: str, *members: tuple[str, bytes]) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, data in members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

    packed("photos/deep/a.tar", ("1.jpg", jpeg("red")), ("1.txt", b"red"))
    packed("photos/words.tar", ("1.txt", b"only words"))
    packed("photos/.hidden.tar", ("1.jpg", jpeg("red")))
    records = open_records(str(tmp_path / "photos"))
    assert [Path(n).name for n in records.names] == ["a.tar!1.jpg"]
    assert records.texts == ("red",)
    assert not records.failed
    (tmp_path / "photos" / "b.jpg").write_bytes(jpeg("blue"))
    (tmp_path / "photos" / "c.tar").write_bytes(b"no tar" * 200)
    records = open_records(str(tmp_path / "photos"))
    assert [Path(n).name for n in records.names] == ["b.jpg", "a.tar!1.jpg"]
    assert records.facts[0] == {"folder": "."}
    assert np.asarray(records.images[records.places[0] or 0])[0, 0, 2] > 200
    assert np.asarray(records.images[records.places[1] or 0])[0, 0, 0] > 200
    assert [Path(e.name).name for e in records.failed] == ["c.tar"]


def test_of_records_of_one_name_the_last_is_kept(photos: Path) -> None:
    (photos / "t.csv").write_text("path,caption\na.jpg,a red one\n,only words\n")
    parts = [open_records(str(p)) for p in (photos, photos / "trip", photos / "t.csv")]
    found = joined(parts).distinct()
    assert [Path(n).name for n in found.names] == ["b.jpg", "c.jpg", "a.jpg", "t.csv[1]"]
    assert found.texts == (None, None, "a red one", "only words")
    assert [f.get("folder") for f in found.facts] == [".", "far", None, None]
    assert found.images.key(found.places[2] or 0) == parts[0].images.key(0)
    assert parts[0].distinct() is parts[0]


def test_the_root_of_a_source_begins_the_names_of_its_records(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "t.csv").write_text("pic,caption\na.jpg,a red one\n")
    (photos / "words.jsonl").write_text('{"caption": "only words"}\n')
    (photos / "named.csv").write_text("path,caption\n,no picture yet\n")
    (photos / "metadata.csv").write_text("file_name,caption\na.jpg,a red one\n")
    pq.write_table(pa.table({"image": [{"bytes": jpeg("red"), "path": None}]}), photos / "p.parquet")
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    for spec in ("photos", "photos/trip/../a.jpg", "photos/p.parquet", "photos/words.jsonl", "demo:photos"):
        found = root(spec)
        assert all(n == found or n.removeprefix(found)[0] in "/![" for n in open_records(spec).names), spec
    assert root("photos") == str(photos)
    for spec, image in (("photos/t.csv", "pic"), ("photos/named.csv", None)):
        with pytest.raises(UsageError, match="prune cannot tell"):
            root(spec, image)


def test_bad_input_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.tar").write_bytes(b"rubbish" * 999)
    (photos / "bare.csv").write_text("a,b\n1,2\n")
    (photos / "none.csv").write_text("path,caption\n")
    (photos / "out.csv").write_text("path\n../../etc/passwd\n")
    (photos / "x.doc").write_text("")
    for spec, error, says in (
        ("none", UsageError, "no file or folder"),
        (photos / "x.doc", DataError, "neither"),
        (tmp_path / "empty", DataError, "No pictures"),
        (tmp_path / "empty.tar", DataError, "holds no picture that can be read; the first: .*damaged"),
        (photos / "bare.csv", DataError, "neither a picture nor a text"),
        (photos / "none.csv", DataError, "no rows"),
        (photos / "out.csv", DataError, "outside"),
    ):
        with pytest.raises(error, match=says):
            open_records(str(spec))
    with pytest.raises(DataError, match="no column 'title'"):
        open_records(str(photos / "bare.csv"), text="title")
    assert isinstance(open_records(str(photos / "a.jpg")), Records)


def test_a_folder_of_embeddings_is_named(tmp_path: Path) -> None:
    (tmp_path / "emb" / "img_emb").mkdir(parents=True)
    with pytest.raises(DataError, match=r"No pictures below .*: it holds embeddings, so give the photos"):
        open_records(tmp_path / "emb")


def test_a_broken_item_of_a_tar_is_named_and_the_others_are_read(photos: Path, tmp_path: Path) -> None:
    def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    picture = (photos / "a.jpg").read_bytes()
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name in ("good", "words", "facts", "../out", "last"):
            add(tar, f"{name}.jpg", picture)
        add(tar, "words.txt", b"\xff\xfe\xff")
        add(tar, "facts.json", b"{")
        add(tar, "good.txt", b"a photo")
    records = open_records(str(tmp_path / "t.tar"))
    assert [n.rpartition("!")[2] for n in records.names] == ["good.jpg", "last.jpg"]
    assert records.texts == ("a photo", None)
    reasons = {e.name.rpartition("!")[2]: e.reason for e in records.failed}
    assert reasons == {
        "words.txt": "is no UTF-8 text",
        "facts.json": "is no JSON",
        "../out.jpg": "its name leads outside the tar",
    }
    assert records.take([0]).failed == joined([records]).failed == records.failed
    cut = (tmp_path / "t.tar").read_bytes()[: 512 + 512 * -(-len(picture) // 512) + 512 + 100]
    (tmp_path / "cut.tar").write_bytes(cut)
    held = open_records(str(tmp_path / "cut.tar"))
    assert [n.rpartition("!")[2] for n in held.names][:1] == ["good.jpg"]
    assert "damaged or truncated tar" in held.failed[-1].reason
