"""The records of the data sets that proofs name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from diptych import catalog
from diptych.core import DataError, UsageError
from diptych.evaluation.datasets import DATA_SETS, known_set, listing_hash, open_linkage, open_set, thing_of

ROOT = Path(__file__).parents[2]


def test_every_data_set_that_a_card_names_has_a_record() -> None:
    """Those that ship, and the pictures of our own generator, need none."""
    for slug in catalog.slugs():
        proof = catalog.find(slug).card.proof
        for name in proof.datasets if proof else ():
            plain = name.removesuffix(":recaptured")
            for composed in (
                "mosaic:",
                "paste:",
                "towers:",
                "wall:",
                "halves:",
                "backgrounds:",
                "new:",
                "transductive:",
            ):
                plain = plain.removeprefix(composed)
            ours = plain.startswith(("demo:", "kinds:")) or plain in (
                "factors",
                "scenes",
                "latents",
                "gaussians",
                "small",
            )
            assert ours or known_set(plain), f"{slug}: {name}"


def test_records_are_whole() -> None:
    for data in DATA_SETS.values():
        assert re.fullmatch(r"[0-9a-f]{64}", data.listing), data.name
        assert data.items > 0
        assert all((data.what, data.source, data.licence, data.drawn, data.roles)), data.name
        assert not data.auxiliary or data.auxiliary in DATA_SETS
    assert known_set("sets/msrc_small") is DATA_SETS["msrc_small"]
    assert known_set("nowhere") is None
    assert thing_of("magnetic_tile") == "magnetic tile"
    assert thing_of("my_old_nuts") == "my old nuts"


@pytest.mark.data
@pytest.mark.parametrize("name", DATA_SETS)
def test_listings_are_those_of_the_folders(data_root: Path, name: str) -> None:
    assert listing_hash(data_root / name) == DATA_SETS[name].listing


def test_a_listing_changes_with_names_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = listing_hash(tmp_path)
    (tmp_path / "a").write_text("y")
    assert listing_hash(tmp_path) == first
    (tmp_path / "a").write_text("xy")
    assert listing_hash(tmp_path) != first


@pytest.mark.data
def test_void_values_are_no_classes(data_root: Path) -> None:
    assert len(open_set(str(data_root / "msrc_small"), "masks").classes) == 21
    assert "Unlabelled" not in open_set(str(data_root / "camvid_small"), "masks").classes


def test_the_page_is_that_of_the_records() -> None:
    spec = importlib.util.spec_from_file_location("data_sets_tool", ROOT / "tools" / "data_sets.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "run python tools/data_sets.py"


def test_painted_scenes_have_captions_and_boxes_and_those_of_one_object_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diptych.evaluation.datasets.SCENE_SIZES", {"train": 4, "test": 3})
    data = open_set("scenes:small", "captions or classes")
    assert (data.name, len(data.split("train")), len(data.split("test"))) == ("scenes:small", 4, 3)
    assert {"captions", "boxes", "phrases"} <= data.split("test").columns.keys()
    one = open_set("scenes:small:one", "any")
    assert len(one.split("test")) == 3
    assert all(name.startswith(("a ", "an ")) for name in one.classes)
    (tmp_path / "scenes").mkdir()
    with pytest.raises((DataError, UsageError)):
        open_set("scenes", "captions or classes")


def test_a_folder_without_records_is_told_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder, not a table of records: give a \.csv with a column"):
        open_linkage(str(tmp_path), "entity")
