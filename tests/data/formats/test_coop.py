from __future__ import annotations

import json
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from diptych.core import DataError, UsageError
from diptych.data.formats.coop import convert_coop_shots, read_coop_shots, read_coop_split, read_shots_pickle
from diptych.data.load import open_data
from tests.support.image_files import photo

ENTRIES = {
    "train": [["cat/0.png", 1, "sea_cat"], ["dog/1.png", 0, "dog"]],
    "val": [["dog/2.png", 0, "dog"]],
    "test": [["cat/3.png", 1, "sea_cat"]],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for rows in ENTRIES.values():
        for place, _, _ in rows:
            photo(tmp_path / "pictures" / str(place), hash(place) % 1000)
    (tmp_path / "split_zhou_Pets.json").write_text(json.dumps(ENTRIES))
    return tmp_path


@pytest.fixture
def datum(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Dassl's class, as far as its pickles show it."""

    class Datum:
        def __init__(self, impath: str, label: int, domain: int = 0, classname: str = "") -> None:
            self._impath, self._label, self._domain, self._classname = impath, label, domain, classname

    for name in ("dassl", "dassl.data", "dassl.data.datasets", "dassl.data.datasets.base_dataset"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module: Any = sys.modules["dassl.data.datasets.base_dataset"]
    Datum.__module__, Datum.__qualname__ = module.__name__, "Datum"
    module.Datum = Datum
    return Datum


def pickled(root: Path, datum: Any, front: str, protocol: int = pickle.HIGHEST_PROTOCOL) -> Path:
    shots = {
        s: [datum(front + place, label, classname=name) for place, label, name in ENTRIES[s]] for s in ("train", "val")
    }
    (root / "shot_1-seed_1.pkl").write_bytes(pickle.dumps(shots, protocol=protocol))
    return root / "shot_1-seed_1.pkl"


def test_split(root: Path) -> None:
    data = open_data(root / "split_zhou_Pets.json")
    assert data.classes == ("dog", "sea_cat")
    assert {s: t.labels().tolist() for s, t in data.splits.items()} == {"train": [1, 0], "val": [0], "test": [1]}
    assert data.hash == read_coop_split(root / "split_zhou_Pets.json", root / "pictures").hash
    assert data.splits["train"].items[1].size == (40, 30)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("front", ["/home/someone/data/pets/pictures/", "data\\pets/", ""])
def test_shots(root: Path, datum: Any, protocol: int, front: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = pickled(root, datum, front, protocol)
    monkeypatch.delitem(sys.modules, "dassl")  # it is not needed, and not imported
    data = read_coop_shots(place, root / "pictures")
    split = read_coop_split(root / "split_zhou_Pets.json")
    assert "dassl" not in sys.modules
    assert data.classes == split.classes
    for name in ("train", "val"):
        ours, theirs = data.splits[name], split.splits[name]
        assert ours.labels().tolist() == theirs.labels().tolist()
        assert [ours.items.name(i) for i in range(len(ours))] == [theirs.items.name(i) for i in range(len(theirs))]


def test_converted_once(root: Path, datum: Any) -> None:
    out = root / "shots.json"
    convert_coop_shots(pickled(root, datum, "/x/"), root / "pictures", out)
    assert json.loads(out.read_text()) == {s: ENTRIES[s] for s in ("train", "val")}
    assert read_coop_split(out).classes == ("dog", "sea_cat")
    with pytest.raises(UsageError, match="exists already"):
        convert_coop_shots(root / "shot_1-seed_1.pkl", root / "pictures", out)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def raw(text: bytes) -> bytes:
    return b"\x80\x04" + text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({"train": [Evil()]}), "operation REDUCE"),
        (pickle.dumps({"train": [Evil()]}, protocol=0), "not loaded"),
        (raw(b"cos\nsystem\n."), "asks for os.system"),
        (raw(b"\x8c\x08builtins\x8c\x04eval\x93."), "asks for builtins.eval"),
        (raw(b"cdassl.data\nDatum.__init__\n."), "asks for dassl.data.Datum.__init__"),
        (raw(b"Px\n."), "PERSID"),
        (raw(b"\x82\x01."), "EXT1"),
        (raw(b"(i__main__\nEvil\n."), "INST"),
        (raw(b"]r\xff\xff\xff\x7f."), "LONG_BINPUT"),
        (raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x0fx."), "not loaded"),
        (raw(b"}."), "none of train"),
        (raw(b"]."), "no lists by split"),
        (pickle.dumps({"train": [["a.png", 0, "x"]]}), "not loaded"),
        (pickle.dumps({"train": "abc"}), "not loaded"),
        (raw(b"}\x8c\x05train](cdassl.x\nDatum\n)\x81K\x01bes."), "an entry is none"),
        (raw(b"}\x8c\x05train](cdassl.x\nDatum\n)\x81}bes."), "_impath"),
        (b"", "not loaded"),
        (b"\x80", "not loaded"),
        (b"words", "not loaded"),
    ],
)
def test_pickles_that_hold_anything_else(
    tmp_path: Path, data: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_shots_pickle(tmp_path / "x.pkl")
    assert message in str(caught.value)
    assert not (tmp_path / "evil").exists()


def test_the_evil_pickle_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps({"train": [Evil()]}))
    assert (tmp_path / "evil").exists()


def test_every_cut_pickle_is_named(root: Path, datum: Any) -> None:
    whole = pickled(root, datum, "/x/").read_bytes()
    for cut in range(0, len(whole), 3):
        (root / "cut.pkl").write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_shots_pickle(root / "cut.pkl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"train": [["a.png", 0]]}, "an entry in train"),
        ({"train": [["a.png", "0", "x"]]}, "an entry in train"),
        ({"train": [["a.png", True, "x"]]}, "an entry in train"),
        ({"train": [["", 0, "x"]]}, "an entry in train"),
        ({"train": {"a": 1}}, "an entry in train"),
        ({"train": [["a.png", 0, "x"], ["b.png", 0, "y"]]}, "both 'x' and 'y'"),
        ({"train": [["a.png", 0, "x"], ["b.png", 1, "x"]]}, "two classes one name"),
        ({"train": [["a.png", 2, "x"]]}, "no picture of class 0"),
        ({"train": [["../a.png", 0, "x"]]}, "leads outside"),
        ({"other": []}, "none of train"),
        ([], "none of train"),
    ],
)
def test_splits_that_cannot_be_used(tmp_path: Path, value: Any, message: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=message):
        read_coop_split(tmp_path / "s.json", tmp_path)


def test_pictures_that_are_not_there(root: Path, datum: Any) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        read_coop_split(root / "split_zhou_Pets.json", root / "absent")
    with pytest.raises(UsageError, match="There is no folder"):
        read_coop_shots(root / "x.pkl", root / "absent")
    with pytest.raises(UsageError, match="There is no pickle"):
        read_coop_shots(root / "x.pkl", root)
    with pytest.raises(DataError, match="is not found below"):
        read_coop_shots(pickled(root, datum, "/x/"), root)
    (root / "pictures").rename(root / "two")
    photo(root / "one/cat/0.png")
    with pytest.raises(DataError, match="found in 2 folders"):
        read_coop_split(root / "split_zhou_Pets.json")
