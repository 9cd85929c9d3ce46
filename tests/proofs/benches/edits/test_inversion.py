from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from diptych.backbones.generators.load import SMALL_DRAWS
from diptych.backbones.sources.load import load
from diptych.core import NotAvailable, Run
from proofs import edit as proof
from proofs.benches.edits.inversion import Known, captioned, open_inversions, others, phrases, weighed
from proofs.prove import prove
from proofs.trial import Tabled


@pytest.fixture(scope="module")
def known() -> Known:
    return Known.draw(40, torch.Generator().manual_seed(0))


def test_pictures_are_read_and_only_what_was_asked_is_clean(known: Known) -> None:
    start = known.asks.start
    assert torch.equal(known.shows(known.x), start)
    assert known.clean(known.right()).all()
    assert not known.clean(known.x).any()
    facts = known.beside(known.right())
    assert (facts["on_target_colour"], facts["on_target_shape"], facts["other_kept"]) == (1.0, 1.0, 1.0)
    assert facts["background_psnr_db"] > 30
    assert known.beside((known.right() + 0.2).clamp(0, 1))["background_psnr_db"] < 20


def test_other_words_change_one_name_and_are_never_those_the_judge_reads_for(known: Known) -> None:
    many = Known.draw(2000, torch.Generator().manual_seed(3)).asks
    other = others(many, torch.Generator().manual_seed(4))
    assert not (other.wanted() == many.wanted()).all(1).any()
    assert ((other.wanted() != many.start).sum(1) == 1).all()
    assert 0.4 < float(other.kind.float().mean()) < 0.6
    none = known.clean(known.rendered(others(known.asks, torch.Generator().manual_seed(5)).wanted()))
    assert not none.any(), "a right edit by other words is not what the judge reads for"
    assert known.beside(known.x + 0.1)["changed"] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(("arm", "failed"), [(None, [True, True]), ("other words", [False, True]),
                                             ("untrained adapters", [True, False])])  # fmt: skip
def test_each_control_shows_where_its_half_alone_is_enough(arm: str | None, failed: list[bool]) -> None:
    trial, run, tiny = proof.TRIALS["clipinverter"], Run(), load("tiny")
    names = ("own", "optimisation", "inversion", "other words", "untrained adapters",
             "untrained adapters, other words", "no refinement", "own caption")  # fmt: skip
    good, bad = np.ones((3, 60)), np.tile(np.arange(60) % 10 == 0, (3, 1)).astype(float)
    hits = {name: good if name in ("own", arm) else bad for name in names}
    judged = trial.judge("clipinverter", "small", Tabled(tiny, run, (1, 2, 3), "clean_edits", {}, hits))
    assert [c["failed"] for c in judged["controls"]] == failed
    assert [c["shown"] for c in judged["claims"]] == [True, True, arm != "other words"]


def test_augclip_prefers_what_was_asked_to_no_edit_and_to_another_picture(known: Known) -> None:
    tiny, run = load("tiny"), Run()
    right, none, other = (weighed(known, y, tiny, run) for y in (known.right(), known.x, known.right().flip(0)))
    assert right["augclip"] > max(none["augclip"], other["augclip"]) + 0.2
    assert none["source_similarity"] == pytest.approx(1, abs=1e-4)
    assert right["source_similarity"] < 0.9


def test_captions_name_what_is_drawn(known: Known) -> None:
    table = captioned(5, torch.Generator().manual_seed(0))
    first = phrases(Known.draw(5, torch.Generator().manual_seed(0)).asks.start)
    assert [own[0] for own in table.columns["captions"].values] == first
    assert table.items[0].size == (SMALL_DRAWS.size, SMALL_DRAWS.size)


def test_a_small_proof_says_all_that_a_proof_must_say(monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(open_inversions, items=6, train=8, steps=1, refine=1, batch=2, optimise=1)
    monkeypatch.setattr(proof, "TRIALS", {"clipinverter": replace(proof.TRIALS["clipinverter"], bench=short)})
    record = prove("clipinverter", load("tiny"), Run(), seeds=(1, 2, 3)).as_dict()
    (data,) = record["datasets"]
    assert record["metric"] == "clean_edits"
    assert [c["over"] for c in data["claims"]] == ["optimisation", "inversion", "other words"]
    assert [c["name"] for c in data["controls"]] == ["other words", "untrained adapters"]
    assert {c["name"] for c in data["beside"]} == {"no refinement", "own caption"}
    assert {c["over"] for c in data["controls"]} == {"untrained adapters, other words"}
    assert set(data["seconds_a_picture"]) == {"own", "optimisation"}
    assert {"background_psnr_db", "augclip", "source_similarity"} <= data["claims"][0]["method"].keys()
    json.dumps(record)
    with pytest.raises(NotAvailable, match="takes small"):
        open_inversions("factors", load("tiny"), Run(), (1, 2, 3))
