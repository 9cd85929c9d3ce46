"""An index of unchanged files is confirmed without the backbone's weights, and without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.backbones.engines.cached_backbone import CachedBackbone, CachedEncoder
from diptych.core import DataError, Run, UsageError
from diptych.data.load import open_records
from diptych.data.records.parts import RecordPart
from diptych.data.records.records import Records, joined, stamp
from diptych.search_index.index import Index
from diptych.tasks.search import index as tasks
from diptych.tasks.search.index import index, unchanged
from tests.support.colours import ColourBackbone, coloured

BACKBONE = ColourBackbone()
KNOWN = CachedBackbone(
    BACKBONE.spec, CachedEncoder("image", BACKBONE.image.fingerprint, 4),
    CachedEncoder("text", BACKBONE.text.fingerprint, 4),
    1.0, 0.0, "cpu",
)  # fmt: skip
SCRIPT = """
import sys
from pathlib import Path
from diptych.backbones.engines.cached_backbone import CachedBackbone, CachedEncoder
from diptych.core import Run
from diptych.core import PixelRecipe, Spec
from diptych.data.load import open_records
from diptych.tasks.search.index import unchanged
photos, out, image, text = sys.argv[1:]
spec = Spec("colours", "", "", "", "", "", 0, 0, "", 4, PixelRecipe(8, (0, 0, 0), (1, 1, 1)))
known = CachedBackbone(spec, CachedEncoder("image", image, 4), CachedEncoder("text", text, 4), 1.0, 0.0, "cpu")
print(unchanged(open_records(photos), known, Run(), Path(out)).unchanged, "torch" in sys.modules)
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, colour in enumerate(("red", "green", "blue")):
        coloured(tmp_path / "photos" / f"folder-{i % 2}" / f"{colour}.png", colour, i)
    coloured(tmp_path / "photos" / "pink.png", "pink", 9)
    return tmp_path / "photos"


@pytest.fixture
def out(photos: Path, tmp_path: Path) -> Path:
    index(open_records(str(photos)), BACKBONE, Run(), tmp_path / "idx")
    return tmp_path / "idx"


def test_a_remembered_backbone_has_the_backbones_fingerprint() -> None:
    assert KNOWN.fingerprint == BACKBONE.fingerprint


def test_nothing_new_is_said_without_torch(photos: Path, out: Path) -> None:
    words = [str(photos), str(out), BACKBONE.image.fingerprint, BACKBONE.text.fingerprint]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["4", "False"], done.stderr
    assert index(open_records(str(photos)), BACKBONE, Run(), out).unchanged == 4


def test_new_and_changed_files_are_left_to_the_backbone(photos: Path, out: Path, tmp_path: Path) -> None:
    assert unchanged(open_records(str(photos)), KNOWN, Run(), tmp_path / "none") is None
    coloured(photos / "pink.png", "yellow", 3)
    assert unchanged(open_records(str(photos)), KNOWN, Run(), out) is None
    index(open_records(str(photos)), BACKBONE, Run(), out)
    assert unchanged(open_records(str(photos)), KNOWN, Run(), out) is not None
    coloured(photos / "new.png", "red", 4)
    assert unchanged(open_records(str(photos)), KNOWN, Run(), out) is None
    with Index(out) as made:
        assert len(made) == 4


def test_lost_files_are_pruned(photos: Path, out: Path) -> None:
    shutil.rmtree(photos / "folder-1")
    kept = unchanged(open_records(str(photos)), KNOWN, Run(), out)
    assert kept is not None
    assert (kept.entries, kept.removed) == (4, 0)
    done = unchanged(open_records(str(photos)), KNOWN, Run(), out, prune=[str(photos)])
    assert done is not None
    assert (done.entries, done.unchanged, done.removed) == (3, 3, 1)


def test_what_is_named_twice_is_one_entry_and_unchanged_next_time(photos: Path, tmp_path: Path) -> None:
    both = joined([open_records(str(photos)), open_records(str(photos / "folder-0"))])
    done = index(both, BACKBONE, Run(), tmp_path / "twice")
    assert (len(both), done.entries, done.added) == (6, 4, 4)
    with Index(tmp_path / "twice") as made:
        assert json.loads(made.stamps([str(photos / "folder-0" / "red.png")]).popitem()[1][2]) == {"folder": "."}
    again = unchanged(both, KNOWN, Run(), tmp_path / "twice")
    assert again is not None
    assert (again.entries, again.unchanged) == (4, 4)


def test_a_folder_is_pruned_under_any_of_its_names(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DIPTYCH_DATA", str(tmp_path))
    for number, name in enumerate(("photos", "../here/../photos", str(photos))):
        lost = coloured(photos / "lost.png", "red", 5)
        assert index(open_records(name), BACKBONE, Run(), tmp_path / f"idx-{number}").entries == 5
        lost.unlink()
        done = index(open_records(name), BACKBONE, Run(), tmp_path / f"idx-{number}", prune=[name])
        assert (done.entries, done.removed) == (4, 1), name


def test_a_table_is_pruned_where_its_entries_bear_its_name(photos: Path, out: Path) -> None:
    table, words = photos / "t.csv", photos / "words.csv"
    table.write_text("path,caption\npink.png,a pink one\n")
    for pruned in (index, lambda records, backbone, *rest, **more: unchanged(records, KNOWN, *rest, **more)):
        with pytest.raises(UsageError, match=r"t\.csv no longer names.*remove"):
            pruned(open_records(str(table)), BACKBONE, Run(), out, prune=[str(table)])
    words.write_text("caption\na red one\na green one\n")
    assert index(open_records(str(words)), BACKBONE, Run(), out).entries == 6
    words.write_text("caption\na red one\n")
    assert index(open_records(str(words)), BACKBONE, Run(), out, prune=[str(words)]).removed == 1
    assert index(open_records(str(photos)), BACKBONE, Run(), out, prune=[str(photos)]).removed == 0, (
        "a row of a table is not the folder's"
    )


def test_another_backbone_or_decode_is_refused(photos: Path, out: Path) -> None:
    other = replace(KNOWN, image=replace(KNOWN.image, fingerprint="ff"))
    for known, run in ((other, Run()), (KNOWN, Run(decode="draft")), (KNOWN, Run(precision="bf16"))):
        with pytest.raises(UsageError, match="was indexed with"):
            unchanged(open_records(str(photos)), known, run, out)


def test_an_approximate_index_that_is_missing_is_left_to_the_backbone(
    photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.ann, "installed", lambda: True)
    assert unchanged(open_records(str(photos)), KNOWN, Run(), out) is not None
    monkeypatch.setattr(tasks, "outgrown", lambda made, always: ["image"])
    assert unchanged(open_records(str(photos)), KNOWN, Run(), out) is None


def test_folders_are_named_from_the_root_and_stamps_find_the_file_behind_a_member(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = open_records("photos/../photos")
    assert sorted(records.names) == sorted(map(str, photos.rglob("*.png")))
    assert {Path(n).name: f["folder"] for n, f in zip(records.names, records.facts, strict=True)} == {
        "red.png": "folder-0", "blue.png": "folder-0", "green.png": "folder-1", "pink.png": ".",
    }  # fmt: skip
    whole = stamp(str(photos / "pink.png"))
    assert stamp(f"{photos / 'pink.png'}!member.jpg") == stamp(f"{photos / 'pink.png'}[3]") == whole != ""
    assert stamp("nowhere.png") == stamp("no\0where") == ""


def test_a_part_is_one_modality_of_those_that_have_it() -> None:
    pictures = type(
        "P",
        (),
        {"__len__": lambda s: 1, "__getitem__": lambda s, i: Image.new("RGB", (2, 2)), "key": lambda s, i: "aa" * 8},
    )()
    records = Records(("a", "b"), pictures, (None, 0), ("x", None))
    image, text = RecordPart(records, "image"), RecordPart(records, "text")
    assert (len(image), image.name(0), image.key(0), np.asarray(image[0]).shape) == (1, "b", "aa" * 8, (2, 2, 3))
    assert (len(text), text.name(0), text[0]) == (1, "a", "x")
    with pytest.raises(UsageError, match="takes records"):
        RecordPart(pictures, "image")


class Fallen:
    """An engine that runs pictures in float32, whatever was asked, and leaves texts to torch."""

    name, precision, facts = "elsewhere", "fp32", {"engine": "onnxruntime"}

    def __init__(self) -> None:
        self.asked = 0

    def runner(self, encoder: Any, run: Run, /) -> Any:
        self.asked += 1
        return self if encoder.modality == "image" else None

    def __call__(self, x: Any, /) -> Any:
        return BACKBONE.image.encode(x).numpy()


def test_an_index_names_the_precision_and_engine_that_ran(photos: Path, tmp_path: Path) -> None:
    run = Run(precision="bf16", engine=Fallen())
    index(open_records(str(photos)), BACKBONE, run, tmp_path / "fallen")
    with Index(tmp_path / "fallen") as made:
        assert made.facts["precision"] == "fp32 (image), bf16 (text)"
        assert made.facts["precision_asked"] == "bf16"
        assert made.facts["engine"] == "onnxruntime (image), torch (text)"
    assert unchanged(open_records(str(photos)), KNOWN, Run(precision="bf16"), tmp_path / "fallen") is not None
    with pytest.raises(UsageError, match=r"other weights, precision or decode of colours \(requested: bf16, exact\)"):
        index(open_records(str(photos)), BACKBONE, Run(), tmp_path / "fallen")


def test_a_query_of_words_brings_neither_torch_nor_formats_of_data() -> None:
    code = (
        "import sys, diptych.tasks.search.ask; print([m for m in ('torch', 'diptych.data.load') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_interruption_says_what_is_stored_and_the_same_call_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SLICE", 3)
    records, real = open_records(str(photos)), tasks._add

    def add(made: Index, records: Records, rows: list[int], *rest: Any) -> Any:
        if rows[0] == 3:
            raise KeyboardInterrupt
        return real(made, records, rows, *rest)

    monkeypatch.setattr(tasks, "_add", add)
    with pytest.raises(KeyboardInterrupt) as caught:
        index(records, BACKBONE, Run(), tmp_path / "idx")
    assert str(caught.value) == (
        f"Interrupted: 3 of 4 records are in {tmp_path / 'idx'}; the same command goes on from there."
    )
    monkeypatch.setattr(tasks, "_add", real)
    done = index(records, BACKBONE, Run(), tmp_path / "idx")
    assert (done.entries, done.added, done.unchanged) == (4, 1, 3)


@pytest.mark.parametrize("there", [True, False])
def test_an_index_of_nothing_leaves_nothing(tmp_path: Path, there: bool) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "empty.png").touch()
    if there:
        (tmp_path / "idx").mkdir()
    with pytest.raises(DataError, match=r"^The only record cannot be read: .*empty\.png: empty file\.$"):
        index(open_records(str(tmp_path / "photos")), BACKBONE, Run(), tmp_path / "idx")
    assert [p.name for p in sorted(tmp_path.iterdir())] == (["idx"] if there else []) + ["photos"]
    if there:
        assert not any((tmp_path / "idx").iterdir())
