from __future__ import annotations

import os
from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.tasks.classified import Prediction
from diptych.verbs.sorted_photos import UNSURE, check_sorting, folder_name, sort_photos


def predictions(root: Path, **labels: str) -> list[Prediction]:
    made = []
    for name, label in labels.items():
        path = root / name.replace("__", "/").replace("_jpg", ".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        made.append(Prediction(str(path), ((label, 0.9),) if label else ()))
    return made


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_photos_are_copied_by_class_and_none_of_one_name_is_lost(tmp_path: Path) -> None:
    given = predictions(tmp_path / "in", a__1_jpg="dress", b__1_jpg="dress", b__2_jpg="hat", b__3_jpg="")
    os.utime(given[0].name, (1e9, 1e9))
    said = sort_photos(given, tmp_path / "out")
    assert files(tmp_path / "out") == {
        "dress/1.jpg": "a__1_jpg", "dress/1 (2).jpg": "b__1_jpg", "hat/2.jpg": "b__2_jpg", "unsure/3.jpg": "b__3_jpg",
    }  # fmt: skip
    assert said == f"4 photos copied into {tmp_path / 'out'}: dress 2, hat 1, unsure 1"
    assert (tmp_path / "out/dress/1.jpg").stat().st_mtime == 1e9
    assert len(files(tmp_path / "in")) == 4


def test_names_that_differ_in_case_alone_do_not_meet_on_other_file_systems(tmp_path: Path) -> None:
    sort_photos(predictions(tmp_path / "in", a__x_jpg="Hat", b__X_jpg="hat"), tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == ["Hat/x.jpg", "hat/X (2).jpg"]


def test_an_unknown_photo_is_unsure(tmp_path: Path) -> None:
    (one,) = predictions(tmp_path / "in", a_jpg="dress")
    sort_photos([Prediction(one.name, one.top, unknown=True)], tmp_path / "out")
    assert list(files(tmp_path / "out")) == [f"{UNSURE}/a.jpg"]


@pytest.mark.parametrize(
    ("label", "name"),
    [("t-shirt", "t-shirt"), ("a/b", "a_b"), ("../up", "_up"), ("con", "con_"), ("LPT1.x", "LPT1.x_"),
     ("..", "_"), ("what?", "what_"), ("Größe", "Größe"), ("x" * 300, "x" * 100)],
)  # fmt: skip
def test_a_class_is_a_folder_name_everywhere(label: str, name: str) -> None:
    assert folder_name(label) == name


def test_what_is_no_file_is_refused_or_counted(tmp_path: Path) -> None:
    (one,) = predictions(tmp_path / "in", a_jpg="dress")
    inside = Prediction("photos.tar/a.jpg", (("dress", 0.9),))
    assert sort_photos([one, inside], tmp_path / "out").endswith("dress 1; 1 are no files")
    with pytest.raises(UsageError, match=r"photos.tar/a.jpg is none: leave sort_into out"):
        sort_photos([inside], tmp_path / "out")


def test_a_folder_among_the_photos_and_photos_in_memory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match=r"lies in .*in, whose photos are sorted: give sort_into a folder"):
        check_sorting([str(tmp_path / "in")], tmp_path / "in" / "sorted")
    check_sorting([str(tmp_path / "in")], tmp_path / "in-sorted")
    with pytest.raises(UsageError, match=r"copies files: give photos as paths"):
        check_sorting([object()], tmp_path / "out")


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let Ctrl-C come when half of the copy of this number is written."""
    copies = iter(range(1, 100))

    def copy(source: str, target: Path) -> None:
        content = Path(source).read_bytes()
        if next(copies) == number:
            target.write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        target.write_bytes(content)

    monkeypatch.setattr("shutil.copy2", copy)


def test_an_interruption_leaves_whole_copies_and_the_same_call_completes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = predictions(tmp_path / "in", a__1_jpg="dress", b__1_jpg="dress", b__2_jpg="hat", b__3_jpg="")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(KeyboardInterrupt) as interruption:
            sort_photos(given, out)
    assert str(interruption.value) == (
        f"Interrupted: 2 of 4 photos are copied into {out}; the same command with {{overwrite}} copies all of them."
    )
    assert files(out) == {"dress/1.jpg": "a__1_jpg", "dress/1 (2).jpg": "b__1_jpg"}
    assert sorted(os.listdir(out)) == ["dress"]
    sort_photos(given, out, overwrite=True)
    assert files(out) == {
        "dress/1.jpg": "a__1_jpg", "dress/1 (2).jpg": "b__1_jpg", "hat/2.jpg": "b__2_jpg", "unsure/3.jpg": "b__3_jpg",
    }  # fmt: skip


def test_an_interruption_before_the_first_copy_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt, match=r"0 of 1 photo is copied into .*out; the same command copies them\."):
        sort_photos(predictions(tmp_path / "in", a_jpg="dress"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
