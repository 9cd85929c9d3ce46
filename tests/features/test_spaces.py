"""Fitted spaces as folders; what every shipped space owes is in ``contract/test_extenders.py``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from diptych.core import DataError, DiptychError, Evidence, Kit, Parts, Run, UsageError
from diptych.features import portable, spaces
from diptych.features.clips import ClipSpace
from diptych.features.spaces import backbones_of, load_space, save_space, stated
from diptych.methods.extend.ila import ILA
from diptych.methods.extend.vifi_clip import ViFiCLIP
from diptych.nn.spaces.aligned_clips import ILASpace
from tests.support.moving import clip_task
from tests.support.visual_backbone import VisualBackbone

BACKBONE = VisualBackbone()
KIT = Kit({"main": BACKBONE})


@pytest.fixture(scope="module")
def aligned() -> ILASpace:
    evidence, _ = clip_task()
    return ILA(frames=2, epochs=1, batch=4, hidden=16).fit(KIT, evidence, Run())


@pytest.fixture
def folder(aligned: ILASpace, tmp_path: Path) -> Path:
    save_space(aligned, tmp_path / "space")
    return tmp_path / "space"


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        facts = json.loads((folder / "fitted.json").read_text())
        change(facts)
        (folder / "fitted.json").write_text(json.dumps(facts))

    return harm


def built(facts: dict[str, Any]) -> Any:
    return facts["fitted"]["fields"]["space"]["built"]


def retensored(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Change tensors and mend checksum and sizes, as one who forges a folder would."""

    def harm(folder: Path) -> None:
        tensors = load_file(folder / "tensors.safetensors")
        change(tensors)
        save_file(tensors, folder / "tensors.safetensors")
        sizes = {name: {"shape": list(t.shape), "dtype": str(t.dtype)} for name, t in tensors.items()}
        digest = hashlib.sha256((folder / "tensors.safetensors").read_bytes()).hexdigest()

        def mend(facts: dict[str, Any]) -> None:
            facts.update(tensors=sizes, sha256=digest)
            named = built(facts)["parts"]["tensors"]["dict"]
            for name in [n for n, t in named.items() if t["tensor"] not in tensors]:
                del named[name]

        edit(mend)(folder)

    return harm


def first(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name, t in tensors.items() if t.ndim > 1)


def settings(facts: dict[str, Any]) -> dict[str, Any]:
    return dict(built(facts)["parts"]["settings"])["dict"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (retensored(lambda t: t.pop(first(t))), "tensors do not fit .* missing"),
        (retensored(lambda t: t.update({first(t): torch.zeros(2, 2)})), "tensors do not fit"),
        (retensored(lambda t: t.update({first(t): t[first(t)] + 1})), "gives another space than was saved"),
        (edit(lambda f: settings(f).update(hidden=10**9)), "no sizes of tensors"),
        (edit(lambda f: settings(f).update(hidden=2**14)), "tensors do not fit"),  # and no memory is taken
        (edit(lambda f: settings(f).pop("frames")), "not the description of a fitted object"),
        (edit(lambda f: settings(f).update(frames="two")), "not the description|tensors do not fit"),
        (edit(lambda f: built(f).update({"class": "ClassNames"})), "as a space, which it is not"),
        (edit(lambda f: built(f).update({"class": "vifi-clip:os"})), "no fitted class"),
        (edit(lambda f: built(f).update({"class": "absent:Space"})), "install its package"),
        (edit(lambda f: built(f)["parts"].update(base=None)), "names no backbone"),
        (edit(lambda f: f["fitted"].update({"class": "ILASpace"})), "by fields, which it has not"),
        (edit(lambda f: f["fitted"].update({"class": "ClipClassifier"})), "earlier version.*run 'diptych extend'"),
        (lambda f: (f / "tensors.safetensors").write_bytes(b"x"), "checksum differs"),
    ],
)
def test_damaged_and_foreign_folders_are_refused(harm: Callable[[Path], object], message: str, folder: Path) -> None:
    harm(folder)
    with pytest.raises(DiptychError, match=message):
        load_space(folder, KIT)


def test_the_backbone_is_named_and_loaded_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backbones_of(stated(folder)) == (BACKBONE.spec.name,)
    monkeypatch.setattr(
        "diptych.backbones.sources.load.load", lambda name, device: {BACKBONE.spec.name: BACKBONE}[name]
    )
    assert isinstance(load_space(folder), ILASpace)
    with pytest.raises(UsageError, match="was fitted on"):
        load_space(folder, Kit({"main": VisualBackbone(seed=1)}))
    assert stated(folder / "absent") == {}
    assert backbones_of({"spaces": {"a": 3, "b": {"spec": []}}}) == ()


def test_what_is_no_fitted_space_is_not_saved_as_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a backbone and no fitted space"):
        save_space(BACKBONE, tmp_path / "x")
    portable.save(portable_only(), tmp_path / "other")
    with pytest.raises(DataError, match="holds a ClassNames and no space"):
        load_space(tmp_path / "other", Kit())


def portable_only() -> Any:
    from diptych.core import ClassNames

    return ClassNames(("a", "b"))


def test_a_trained_backbone_is_written_by_what_changed(tmp_path: Path) -> None:
    evidence, _ = clip_task()
    tuned = ViFiCLIP(tunes="heads", frames=2, epochs=1, batch=4).fit(KIT, evidence, Run())
    save_space(tuned, tmp_path / "tuned")
    kept = load_file(tmp_path / "tuned" / "tensors.safetensors")
    assert 0 < len(kept) < len(BACKBONE.module().state_dict())
    again = load_space(tmp_path / "tuned", KIT)
    for name, tensor in tuned.base.module().state_dict().items():
        assert torch.equal(again.base.module().state_dict()[name], tensor)  # type: ignore[attr-defined]
    assert again.parts().base is BACKBONE  # type: ignore[union-attr]


def test_a_classifier_on_a_fitted_space_is_saved_with_it(tmp_path: Path) -> None:
    from diptych.core import ClassNames
    from diptych.methods.classify.zero_shot import ZeroShot

    space = ClipSpace(BACKBONE, 2)
    fitted = ZeroShot().fit(Kit({"main": space}), ClassNames(("a", "b")), Evidence(), Run())
    portable.save(fitted, tmp_path / "head")
    for kit in (KIT, Kit({"clips": space})):
        again = portable.load(tmp_path / "head", kit)
        assert again.backbone.fingerprint == space.fingerprint
        assert torch.equal(again.head, fitted.head)


def test_a_class_with_parts_and_no_way_back_is_refused(tmp_path: Path) -> None:
    class OneWay(ClipSpace):
        @classmethod
        def of_parts(cls, parts: Parts) -> Any:
            raise NotImplementedError

    OneWay.of_parts = spaces.Space.of_parts  # type: ignore[method-assign,assignment]
    with pytest.raises(UsageError, match="has parts and no of_parts"):
        save_space(OneWay(BACKBONE, 2), tmp_path / "x")
