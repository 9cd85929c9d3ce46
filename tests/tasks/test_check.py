from __future__ import annotations

import csv
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.core import Run, UsageError
from diptych.data.load import open_data
from diptych.tasks import check as module
from diptych.tasks.check import CheckReport, check
from diptych.tasks.curate.near_pictures import Look, look_of
from tests.data.test_format import masked
from tests.support import image_files as make
from tests.tasks.curate.test_near_pictures import blobs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clean set: two classes, three splits, six pictures each."""
    seed = 0
    for split in ("train", "val", "test"):
        for name in ("sea_horse", "cat"):
            for i in range(6):
                make.photo(tmp_path / split / name / f"{i}.png", seed)
                seed += 1
    return tmp_path


def kinds(report: CheckReport) -> list[str]:
    return [f.kind for f in report.findings]


def test_clean_data_have_no_finding(root: Path) -> None:
    report = check(root)
    assert report.findings == ()
    assert report.ok
    assert report.counts == {"train": 12, "val": 12, "test": 12}
    assert check(open_data(root)).findings == ()
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True


def test_unreadable_pictures_are_grouped_by_reason(root: Path) -> None:
    make.empty(root / "train/cat/e.png")
    make.empty(root / "train/cat/f.png")
    make.bomb(root / "test/cat/g.png")
    report = check(root)
    assert kinds(report) == ["unreadable", "unreadable"]
    assert not report.ok
    assert {len(f.paths) for f in report.findings} == {1, 2}
    assert "60,000 x 60,000" in " ".join(f.message for f in report.findings)


def test_duplicates(root: Path) -> None:
    same = (root / "train/cat/0.png").read_bytes()
    (root / "test/cat/again.png").write_bytes(same)
    (root / "val/cat/twin.png").write_bytes((root / "val/cat/0.png").read_bytes())
    (root / "val/sea_horse/liar.png").write_bytes((root / "val/cat/1.png").read_bytes())
    report = check(root)
    assert sorted(kinds(report)) == ["duplicate", "duplicate-across-splits", "two-labels"]
    across = next(f for f in report.findings if f.kind == "duplicate-across-splits")
    assert sorted(across.paths) == [str(root / "test/cat/again.png"), str(root / "train/cat/0.png")]
    assert across.severity == "error"
    assert all(path in across.message for path in across.paths)


def test_across_splits_and_doubled_inside(root: Path) -> None:
    same = (root / "train/cat/0.png").read_bytes()
    (root / "train/cat/twin.png").write_bytes(same)
    (root / "test/cat/again.png").write_bytes(same)
    assert sorted(kinds(check(root))) == ["duplicate", "duplicate-across-splits"]


def test_classes_empty_missing_or_tiny(root: Path) -> None:
    (root / "train/emu").mkdir()
    make.photo(root / "train/dog/1.png", 99)
    report = check(root)
    assert kinds(report)[0] == "empty-class"
    assert report.findings[0].paths == ("emu",)
    assert sorted(kinds(report)[1:]) == ["class-missing-in-split"] * 2 + ["tiny-class"]


def test_missing_splits(root: Path) -> None:
    def missing() -> list[tuple[str, str, str]]:
        return [(f.severity, f.message, f.remedy) for f in check(root).findings if f.kind == "missing-split"]

    train = "choices are made on train items that are not drawn."
    (root / "val").rename(root / "old-val")
    assert missing() == [
        (
            "note", f"Split val is missing: results come from test, and {train}",
            "Add a folder (or split value) named 'val', if you have one.",
        )
    ]  # fmt: skip
    (root / "test").rename(root / "val")
    assert missing() == [
        (
            "note", f"Split test is missing: results come from val, and {train}",
            "Add a folder (or split value) named 'test', if you have one.",
        )
    ]  # fmt: skip
    (root / "val").rename(root / "other")
    assert missing() == [
        (
            "error", "Splits test and val are missing: nothing can be measured.",
            "Add a folder (or split value) named 'test'.",
        )
    ]  # fmt: skip
    assert [(f.message, f.remedy) for f in check(root / "train").findings] == [
        (
            "Split train is missing: a board measures no few-shot system; finetune holds out a tenth of the photos.",
            "Add a folder (or split value) named 'train'.",
        )
    ]


def test_names_that_do_not_fit(root: Path) -> None:
    assert kinds(check(root, names=["cat"])) == ["names"]
    assert kinds(check(root, names=["horse", "Horse"])) == ["name-collision"]
    assert check(root, names=["cat", "sea horse"]).ok


def test_folder_names_that_become_one(root: Path) -> None:
    for s, split in enumerate(("train", "val", "test")):
        for i in range(6):
            make.photo(root / split / "SeaHorse" / f"{i}.png", 100 + 6 * s + i)
    found = check(root).findings
    assert [f.kind for f in found] == ["name-collision"]
    assert found[0].paths == ("SeaHorse", "sea_horse")


def test_large_pictures(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1199)
    assert kinds(check(root)) == ["large"]


def test_data_that_do_not_open_are_a_finding(tmp_path: Path) -> None:
    report = check(tmp_path)
    assert kinds(report) == ["layout"]
    assert not report.ok
    with pytest.raises(UsageError):
        check(tmp_path / "absent")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    empty = check(tmp_path)
    assert not empty.ok, "class folders without a picture are no sound data"
    assert "layout" in kinds(empty)


def test_photos_beside_folders_are_checked_without_classes(root: Path) -> None:
    make.photo(root / "test" / "loose.png", 50)
    make.empty(root / "test" / "empty.png")
    (root / "test" / "cat" / "twin.png").write_bytes((root / "test" / "cat" / "0.png").read_bytes())
    report = check(root)
    assert [(f.kind, f.severity) for f in report.findings] == [
        ("unreadable", "error"), ("layout", "warning"), ("duplicate", "warning"),
    ]  # fmt: skip
    assert "lies beside the class folders of" in report.findings[1].message
    assert report.findings[2].message.startswith("1 picture occurs more than once, such as ")
    assert (report.classes, report.counts) == ((), {"test": 39})


def test_findings_do_not_depend_on_workers(root: Path) -> None:
    make.empty(root / "train/cat/e.png")
    assert check(root, run=Run(workers=1)) == check(root, run=Run(workers=4))


def test_demo_data_are_healthy() -> None:
    assert check("demo:clothes").ok
    assert check("demo:photos").findings == ()


def test_label_maps_are_no_class_of_photos(tmp_path: Path) -> None:
    masked(tmp_path)
    report = check(tmp_path)
    assert (report.classes, report.counts, report.findings) == (("sky", "cow"), {"test": 1}, ())


@pytest.mark.parametrize("truth", [True, False])
def test_normal_photos_alone_are_for_training(tmp_path: Path, truth: bool) -> None:
    for seed, place in enumerate(("train/good/1", "train/good/2", "test/good/3", "test/scratch/4")):
        make.photo(tmp_path / f"{place}.png", seed)
    if truth:
        make.photo(tmp_path / "ground_truth/scratch/4.png", 9)
        with Image.open(tmp_path / "ground_truth/scratch/4.png") as photo:
            mask = photo.convert("L")
        mask.save(tmp_path / "ground_truth/scratch/4.png")
    report = check(tmp_path)
    assert report.classes == ("normal", "anomalous")
    assert report.findings == ()


def test_one_class_numbers_and_specks(tmp_path: Path) -> None:
    for i in range(5):
        make.photo(tmp_path / "one" / "images" / f"{i}.png", i)
        for name in ("7", "8"):
            make.photo(tmp_path / "numbers" / name / f"{i}.png", 10 * int(name) + i)
    assert "one-class" in kinds(check(tmp_path / "one"))
    assert [f.kind for f in check(tmp_path / "numbers").findings if f.severity == "warning"] == ["names"]
    Image.new("RGB", (1, 1)).save(tmp_path / "numbers" / "7" / "dot.png")
    assert "small" in kinds(check(tmp_path / "numbers"))


def test_pictures_without_a_caption_beside_others_are_counted(tmp_path: Path) -> None:
    for i in range(3):
        make.photo(tmp_path / f"{i}.png", i)
    table = tmp_path / "captions.csv"
    table.write_text("path,caption\n0.png,a cat\n1.png,\n2.png,a dog\n")
    (finding,) = check(table).findings
    assert (finding.kind, finding.severity, finding.message) == (
        "caption",
        "warning",
        "1 of 3 pictures has no caption.",
    )
    assert [Path(p).name for p in finding.paths] == ["1.png"]
    table.write_text("path,caption\n0.png,\n1.png,\n2.png,\n")
    assert check(table).ok, "photos alone"


def test_data_that_cannot_be_opened_have_no_counts_in_their_title(tmp_path: Path) -> None:
    make.photo(tmp_path / "0.png", 0)
    (tmp_path / "t.csv").write_text("path,label\n0.png,\n")
    report = check(tmp_path / "t.csv")
    assert (report.ok, report.title()) == (False, str(tmp_path / "t.csv"))


def test_pictures_that_look_the_same_are_found_where_their_bytes_differ(tmp_path: Path) -> None:
    for i in range(6):
        blobs(i).save(make_parent(tmp_path / "train" / "cat" / f"{i}.png"))
        blobs(i + 6).save(make_parent(tmp_path / "test" / "dog" / f"{i}.png"))
    blobs(0).resize((40, 40)).save(tmp_path / "train/cat/small.webp")
    blobs(6).save(tmp_path / "train/cat/other.jpg", quality=70)
    (tmp_path / "train/cat/twin.png").write_bytes((tmp_path / "train/cat/1.png").read_bytes())
    report = check(tmp_path)
    (near,) = [f for f in report.findings if f.kind == "near-duplicate"]
    assert near.severity == "warning"
    assert near.message.startswith("2 pictures occur again, saved anew or resized, 1 of them in another split, such as")
    assert [[Path(p).name for p in group] for group in near.groups] == [["0.png", "small.webp"], ["other.jpg", "0.png"]]
    assert sorted(p for group in near.groups for p in group) == sorted(near.paths)
    rows = list(csv.DictReader(report.as_csv().splitlines()))
    groups = {(r["kind"], r["group"]): [] for r in rows}
    for row in rows:
        groups[row["kind"], row["group"]].append(Path(row["path"]).name)
    assert groups["near-duplicate", "2"] == ["0.png", "small.webp"]
    assert sorted(groups["duplicate", "1"]) == ["1.png", "twin.png"]
    table = report.to_pandas()
    assert table["path"].tolist() == [row["path"] for row in rows]
    assert list(table) == list(rows[0])
    assert check(tmp_path / "train" / "cat" / "2.png").to_pandas().empty


def make_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_pictures_that_end_early_are_one_finding_whatever_their_bytes(root: Path) -> None:
    whole = root / "whole.jpg"
    blobs(0).resize((300, 300)).save(whole)
    for part in (2, 3):
        (root / f"train/cat/half{part}.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // part])
    whole.unlink()
    broken = [f for f in check(root).findings if f.kind == "unreadable"]
    assert [f.message for f in broken] == ["2 pictures cannot be read: truncated JPEG file."]


def test_an_interruption_does_not_look_at_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        make.photo(tmp_path / f"{i}.png", i)
    seen: list[str] = []

    def slow(image: Image.Image) -> Look:
        seen.append("")
        time.sleep(0.01)
        return look_of(image)

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args: Any, **more: Any) -> Any:
            if self._work_queue.qsize() >= 40:
                raise KeyboardInterrupt
            return super().submit(*args, **more)

    monkeypatch.setattr(module, "look_of", slow)
    monkeypatch.setattr(module, "ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        check(tmp_path, run=Run(workers=1))
    assert len(seen) < 20
