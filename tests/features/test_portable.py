from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.mask_models.sam import SamMasks
from diptych.core import ClassNames, DataError, Kit, Run, Space, State, UsageError, entry_points
from diptych.features import saved_classes
from diptych.features.portable import load, save
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.zero_shot import FittedZeroShot, ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import task
from tests.support.sam import small_sam

KIT = Kit({"main": SmallBackbone()})


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> None:
    """State stands for any class of the table: its fields take whatever a fitted object holds."""
    monkeypatch.setattr(saved_classes, "SHARED", {**saved_classes.SHARED, "State": "diptych.core.backbone"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fitted = FittedZeroShot(ClassNames(("red fox", "oak")), KIT.need(Space), torch.eye(2, 16))  # type: ignore[arg-type]
    save(fitted, tmp_path / "head")
    return tmp_path / "head"


@pytest.mark.parametrize("method", [ZeroShot(), GDA()])
def test_a_loaded_object_scores_the_same_bits(method: Any, tmp_path: Path) -> None:
    classes, evidence, test = task()
    fitted = method.fit(KIT, classes, evidence, Run())
    save(fitted, tmp_path / "deep" / "fitted")
    again = load(tmp_path / "deep" / "fitted", Kit({"mine": SmallBackbone()}))
    assert type(again) is type(fitted)
    assert again.classes == fitted.classes
    assert torch.equal(again.scores(test.items, Run()).values, fitted.scores(test.items, Run()).values)
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["fitted"]


def test_every_plain_value_comes_back(tmp_path: Path) -> None:
    plain = {"a": [1, 2.5, None, True, "é"], "b": (float("inf"), float("-inf")), "c": {"d": ()}}
    x = torch.randn(4, 3).T  # not contiguous
    value = State(h=x, bias=x, pool=plain, prefix=3, grid=(2, 5), kept=State(h=torch.zeros(0, 2, dtype=torch.float64)))  # type: ignore[arg-type]
    save(value, tmp_path / "x")
    back = load(tmp_path / "x", Kit())
    assert torch.equal(back.h, x)
    assert torch.equal(back.bias, x)
    assert back.pool == plain
    assert (back.prefix, back.grid, type(back.grid)) == (3, (2, 5), tuple)
    assert (back.kept.h.shape, back.kept.h.dtype) == ((0, 2), torch.float64)


def test_classes_are_written_by_short_names(folder: Path) -> None:
    text = (folder / "fitted.json").read_text()
    assert '"class": "zero-shot:FittedZeroShot"' in text
    assert '"class": "ClassNames"' in text
    assert "diptych." not in text


def test_a_class_without_a_short_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Nameless of .*test_portable cannot be saved: .*not in saved_classes.SHARED"):
        save(Nameless(torch.zeros(1)), tmp_path / "x")


def test_a_class_of_another_package_is_written_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("mine", f"{__name__}:Nameless", "diptych.methods")
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [point])
    save(Nameless(torch.ones(2)), tmp_path / "x")
    assert '"class": "mine:Nameless"' in (tmp_path / "x" / "fitted.json").read_text()
    assert torch.equal(load(tmp_path / "x", Kit()).h, torch.ones(2))
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [])
    with pytest.raises(DataError, match=r"'mine:Nameless', which is no fitted class .*install its package"):
        load(tmp_path / "x", Kit())


def test_nothing_is_overwritten(folder: Path) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(UsageError, match="exists: name another folder"):
        save(State(h=torch.zeros(1)), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["head"]


@dataclasses.dataclass(frozen=True)
class Nameless:
    h: torch.Tensor


@dataclasses.dataclass
class Thawed:
    h: torch.Tensor


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: "a"}, b"bytes", Path("x"), Thawed(torch.zeros(1)), lambda: 0])
def test_what_cannot_be_written_is_named(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"State\.kept is a .*cannot be saved"):
        save(State(h=torch.zeros(1), kept=value), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_only_frozen_dataclasses_are_fitted_objects(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only fitted objects"):
        save([1, 2], tmp_path / "x")


def test_another_backbone_is_refused(folder: Path) -> None:
    for kit in (Kit({"main": SmallBackbone(seed=1)}), Kit()):
        with pytest.raises(UsageError, match=r"was fitted on small .*load that one, or fit again"):
            load(folder, kit)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        facts = json.loads((folder / "fitted.json").read_text())
        change(facts)
        (folder / "fitted.json").write_text(json.dumps(facts))

    return harm


def swap(folder: Path) -> None:
    save_file({"FittedZeroShot.head": torch.ones(2, 16)}, folder / "tensors.safetensors")


def forged(folder: Path) -> None:
    """The checksum is mended, the size is another."""
    import hashlib

    save_file({"FittedZeroShot.head": torch.ones(3, 16)}, folder / "tensors.safetensors")
    edit(lambda f: f.update(sha256=hashlib.sha256((folder / "tensors.safetensors").read_bytes()).hexdigest()))(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (edit(lambda f: f["fitted"]["fields"].update(extra=1)), "fields of FittedZeroShot differ: extra"),
        (edit(lambda f: f["fitted"]["fields"].pop("head")), "fields of FittedZeroShot differ: head"),
        (edit(lambda f: f["fitted"].update({"class": "os:system"})), "no fitted class"),
        (edit(lambda f: f["fitted"].update({"class": "subprocess:Popen"})), "no fitted class"),
        (edit(lambda f: f["fitted"].update({"class": "diptych.methods.classify.gda:FittedGDA"})), "fit again and save"),
        *(
            (edit(lambda f, name=name: f["fitted"].update({"class": name})), "no fitted class")  # type: ignore[misc]
            for name in (
                "os",
                "Path",
                "gda:np",
                "gda:os",
                "gda:Card",
                "*:FittedGDA",
                "../gda:FittedGDA",
                "--init--:x",
                ":x",
                "absent:Thing",
            )
        ),
        (edit(lambda f: f["fitted"].update({"class": 7})), "not the description"),
        (edit(lambda f: f["fitted"]["fields"].update(head={"eval": "1"})), "unknown kind of value, 'eval'"),
        (edit(lambda f: f["fitted"]["fields"].update(head={"tensor": "absent"})), "lacks tensors of .*: absent;"),
        (edit(lambda f: f["fitted"]["fields"].update(head=None)), "tensors that nothing reads: FittedZeroShot.head;"),
        (edit(lambda f: f.pop("spaces")), "not the description"),
        (edit(lambda f: f.update(tensors={})), "other tensors"),
        (swap, "checksum differs"),
        (forged, r"other tensors than fitted.json states: FittedZeroShot.head"),
        (lambda f: (f / "fitted.json").write_text("{"), "is no JSON"),
        (lambda f: (f / "fitted.json").write_text("[" * 100_000), "is no JSON"),
        (lambda f: (f / "fitted.json").write_text("[]"), "not the description"),
        (lambda f: (f / "fitted.json").unlink(), "does not exist"),
        (lambda f: (f / "tensors.safetensors").unlink(), "cannot be read"),
    ],
)
def test_untrusted_folders_are_refused(harm: Callable[[Path], object], message: str, folder: Path) -> None:
    harm(folder)
    with pytest.raises(DataError, match=message):
        load(folder, KIT)


def test_another_schema_is_refused(folder: Path) -> None:
    edit(lambda f: f.update(schema=9))(folder)
    with pytest.raises(UsageError, match="schema 9"):
        load(folder, KIT)


def test_mask_models_are_named_by_fingerprint_as_spaces_are(tmp_path: Path) -> None:
    sam, proposer = SamMasks(small_sam()), MergedCells(side=8)
    save(State(h=torch.zeros(1), bias=sam, pool=proposer), tmp_path / "fitted")  # type: ignore[arg-type]
    again = load(tmp_path / "fitted", Kit({"masks": sam, "proposer": proposer}))
    assert again.bias is sam
    assert again.pool is proposer
    with pytest.raises(UsageError, match="was fitted on SamMasks"):
        load(tmp_path / "fitted", Kit({"masks": SamMasks(small_sam(1)), "proposer": proposer}))


def test_class_names_of_an_earlier_version_are_read(folder: Path) -> None:
    facts = json.loads((folder / "fitted.json").read_text())
    for added in ("words", "things"):
        del facts["fitted"]["fields"]["classes"]["fields"][added]
    (folder / "fitted.json").write_text(json.dumps(facts))
    assert load(folder, KIT).classes == ClassNames(("red fox", "oak"))
