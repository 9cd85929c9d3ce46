"""Changed architectures: what they compute, and that folders bring them back."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.changes.apply import apply, changed
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import load_parts, save
from diptych.core import Change, DataError, MissingHook, UsageError

LONG = "a long text of many words " * 20


@pytest.fixture(scope="module")
def tiny():
    return load("tiny")


def texts(space, *items):
    with torch.no_grad():
        return space.text.encode(space.text.inputs(list(items)))


def test_a_changed_space_and_its_parts_come_back_from_a_folder(tiny, tmp_path) -> None:
    space = changed(changed(tiny, "text-positions", kept=8, ratio=2), "logit-bias", scale=10.0, bias=-10.0)
    part = torch.nn.Linear(3, 2)
    save(space, tmp_path / "model", {"head": part})
    again = load(f"local:{tmp_path / 'model'}")
    assert again.spec.changes == space.spec.changes
    assert again.score == "sigmoid"
    assert [round(x.item(), 4) for x in again.scale()] == [10.0, -10.0]
    assert torch.equal(texts(again, LONG[:200]), texts(space, LONG[:200]))
    assert {m: e.fingerprint for m, e in again.encoders.items()} == {
        m: e.fingerprint for m, e in space.encoders.items()
    }
    assert torch.equal(load_parts(tmp_path / "model")["head"]["weight"], part.weight)
    assert load_parts(tmp_path) == {}
    save(changed(again, "text-positions", kept=2, ratio=2), tmp_path / "twice")
    assert len(load(f"local:{tmp_path / 'twice'}").spec.changes) == 3


def test_what_does_not_fit_is_refused(tiny) -> None:
    with pytest.raises(UsageError, match="'wings'"):
        changed(tiny, "wings")
    with pytest.raises(DataError, match="feathers"):
        apply(torch.nn.Identity(), tiny.spec, [Change("text-positions", {"feathers": 2})])
    with pytest.raises(MissingHook, match="no table of positions"):
        apply(torch.nn.Identity(), tiny.spec, [Change("text-positions", {"kept": 1, "ratio": 2})])
