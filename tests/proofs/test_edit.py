"""The proof of DeltaEdit: what its asks are, how edits are read, and that a small run says what a proof must say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from diptych.backbones.generators.factors import FactorGenerator
from diptych.core import NotAvailable, Run
from proofs import edit as proof
from proofs.benches.edits.asks import Asks, Factors, Pictures, Words, asks, clean, details
from proofs.prove import prove
from tests.support.colours import ColourBackbone

FACTORS = Factors(FactorGenerator())


def right(asked: Asks) -> torch.Tensor:
    """The change that does what was asked: the two channels trade places."""
    change, start = torch.zeros_like(asked.styles.s), {0: 15, 1: 3}
    for k in range(len(asked.target)):
        first = start[int(asked.kind[k])]
        old, new = first + int(asked.start[k, asked.kind[k]]), first + int(asked.target[k])
        gap = asked.styles.s[k, old] - asked.styles.s[k, new]
        change[k, old], change[k, new] = -gap, gap
    return change


def test_asks_name_what_is_not_there_and_are_the_same_every_time() -> None:
    one, two = asks(FACTORS, 60, "test"), asks(FACTORS, 60, "test")
    assert torch.equal(one.styles.s, two.styles.s)
    assert torch.equal(one.target, two.target)
    now = one.start.gather(1, one.kind[:, None])[:, 0]
    assert (now != one.target).all()
    assert ((one.wanted() != one.start).sum(1) == 1).all()
    assert not torch.equal(asks(FACTORS, 60, "val").styles.s, one.styles.s)
    assert 10 < int(one.kind.sum()) < 50


def test_only_an_edit_that_does_what_was_asked_and_nothing_else_is_clean() -> None:
    asked = asks(FACTORS, 40, "test")
    change = right(asked)
    assert clean(FACTORS, asked, change).all()
    assert details(FACTORS, asked, change)["place_and_ground_moved"] == 0.0
    assert not clean(FACTORS, asked, torch.zeros_like(change)).any()
    for channel in (0, 25):  # across, lightness
        off = change.clone()
        off[:, channel] += 0.6
        assert not clean(FACTORS, asked, off).any()
    both = change.clone()
    both[
        torch.arange(40),
        torch.where(asked.kind == 0, 3, 15) + (1 + asked.start.gather(1, 1 - asked.kind[:, None])[:, 0]) % 10,
    ] += 9
    assert not clean(FACTORS, asked, both).any()
    turned = Factors(FactorGenerator(rotation=1))
    same = replace(asked, styles=turned.generator.styles(FACTORS.generator.factors(asked.styles)))
    moved = (
        turned.generator.styles(FACTORS.generator.factors(replace(asked.styles, s=asked.styles.s + change))).s
        - same.styles.s
    )
    assert clean(turned, same, moved).all()


def test_pictures_are_read_as_the_nearest_known_one() -> None:
    truth = FactorGenerator(16)
    styles = truth.sample(30, torch.Generator().manual_seed(0))
    bench = Pictures(truth, truth, truth.synthesise(styles).flatten(1), Factors(truth).read(styles))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bench.read(styles.take(order)), Factors(truth).read(styles)[order])
    assert bench.moved(styles, styles).shape == (30, 0)


def test_words_stand_at_their_place() -> None:
    backbone = ColourBackbone()
    words = Words.of(FACTORS.generator, ("{}",), backbone, Run())
    assert words.unit.shape[:2] == (10, 12)
    one = backbone.text.encode(backbone.text.inputs(["a blue star"]))
    torch.testing.assert_close(words.at(torch.tensor([[5, 3]])), torch.nn.functional.normalize(one, dim=-1))


def test_a_small_proof_says_all_that_a_proof_must_say(monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(proof.open_edits, items=12, bank=16, passes=2, probes=1)
    monkeypatch.setattr(proof, "TRIALS", {"deltaedit": replace(proof.TRIALS["deltaedit"], bench=short)})
    record = prove("deltaedit", ColourBackbone(), Run(), seeds=(1, 2, 3)).as_dict()
    (data,) = record["datasets"]
    assert (data["dataset"], data["items"], record["metric"]) == ("factors", 12, "clean_edits")
    assert [c["over"] for c in data["claims"]] == ["absolute", "no mask"]
    assert data["controls"][0]["over"] == "other asks"
    twins = {row["name"]: row["twin"]["clean_edits"] for row in data["beside"]}
    assert twins["threshold 1"] == 0.0
    assert set(twins) == {
        "threshold 0.03",
        "threshold 1",
        "absolute, centred",
        "own, strength chosen",
        "global direction",
    }
    assert set(data["space"]) == {"raw", "difference", "centred", "sum"}
    assert all(len(rows) == 3 for rows in data["chosen"].values())
    assert 0 <= data["rotated_channels"]["clean_edits"] <= 1
    json.dumps(record)
    with pytest.raises(NotAvailable, match="factors and small"):
        prove("deltaedit", ColourBackbone(), Run(), datasets=("demo:clothes",), seeds=(1, 2, 3))


def test_global_direction_moves_by_relevance_where_it_passes() -> None:
    relevance, spread = torch.tensor([[1.0, 0.0], [0.0, 0.1]]), torch.tensor([2.0, 3.0])
    words = Words(torch.tensor([[[0.0, 0.0]], [[0.5, 0.5]]]))
    asked = Asks(
        FACTORS.generator.sample(1, torch.Generator()), torch.tensor([[0, 0]]), torch.tensor([0]), torch.tensor([1])
    )
    found = proof._along(relevance, spread, words)(asked, 0.2)
    np.testing.assert_allclose(found.numpy(), [[1.0, 0.0]])
