from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import open_clip
import pytest

from diptych.core import ClassNames, DataError, UsageError
from diptych.data.words.templates import ENSEMBLE, IMAGENET, SINGLE, VILD, read_templates
from diptych.verbs.names import templates_of


def test_the_fields_sets() -> None:
    assert len(ENSEMBLE) == 7
    assert ClassNames(("cat",)).templates == SINGLE
    assert read_templates(ENSEMBLE) == ENSEMBLE


@pytest.mark.parametrize("slot", ["{}", "{c}", "{class}"])
def test_slots_mean_the_same(tmp_path: Path, slot: str) -> None:
    (tmp_path / "t.txt").write_text(f"a photo of a {slot}.\n\nart of {slot}\n")
    (tmp_path / "t.json").write_text(json.dumps([f"a photo of a {slot}.", f"art of {slot}"]))
    assert (
        read_templates(tmp_path / "t.txt") == read_templates(tmp_path / "t.json") == ("a photo of a {}.", "art of {}")
    )


def test_clip_benchmark_file() -> None:
    source = str(files("clip_benchmark") / "datasets" / "en_zeroshot_classification_templates.json")
    theirs = json.loads(Path(source).read_text())
    assert read_templates(source, "cifar10") == tuple(t.replace("{c}", "{}") for t in theirs["cifar10"])
    with pytest.raises(UsageError, match="several data sets"):
        read_templates(source)
    with pytest.raises(UsageError, match="no templates for 'mine'"):
        read_templates(source, "mine")


def test_one_data_set_needs_no_choice(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"mine": ["a {c}"]}')
    assert read_templates(tmp_path / "t.json") == ("a {}",)


@pytest.mark.parametrize("line", ["a photo.", "{} and {}", "{name}"])
def test_template_without_one_slot(line: str) -> None:
    with pytest.raises(UsageError, match="exactly one"):
        read_templates([line])


@pytest.mark.parametrize(("name", "content"), [("t.json", '{"a": {"cat": ["x"]}}'), ("t.json", "3"), ("t.txt", "\n\n")])
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError):
        read_templates(tmp_path / name)


def test_sets_have_names_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_templates("vild") == templates_of("vild") == VILD
    assert len(set(VILD)) == 14
    assert read_templates("imagenet") == IMAGENET
    theirs = [t("{}") for t in open_clip.OPENAI_IMAGENET_TEMPLATES]
    assert (sorted(IMAGENET), len(IMAGENET)) == (sorted(theirs), 80)
    assert [t for t in VILD if not t.endswith(".")] == [
        "This is a photo of a {}", "There is a {} in the scene", "There is the {} in the scene",
        "a photo of a {} in the scene",
    ]  # fmt: skip
    (tmp_path / "vild").write_text("my {}\n")
    assert read_templates("vild") == ("my {}",)
