from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from diptych.core import NotAvailable, Run, Subset
from proofs import rewrite as proof
from proofs.prove import prove
from proofs.rewrite import HELD_OUT, TAUGHT, kept, open_scenes, permuted, prompts, table


def test_prompts_name_what_was_held_out_and_training_does_not() -> None:
    asked = prompts(12)
    assert len(set(asked)) == 12
    assert sum(pair in HELD_OUT for pair in asked) == 6
    data = table(TAUGHT, 3, 40)
    for short, long in data.columns["captions"].values:
        colour, shape = short.split()[1:]
        assert (colour, shape) not in HELD_OUT
        assert f"{shape} on a" in long
        assert colour in long
    other = permuted(data, Run(seed=1)).columns["captions"].values
    assert [a[0] for a in other] == [a[0] for a in data.columns["captions"].values]
    assert sorted(a[1] for a in other) == sorted(a[1] for a in data.columns["captions"].values)
    assert list(other) != list(data.columns["captions"].values)
    assert len(Subset(data.items, (0, 1))) == 2


def test_kept_counts_whole_words_of_both() -> None:
    rewrites = [["a red star on ice", "a red circle"], ["a blue stars"], []]
    assert kept(rewrites, [("red", "star"), ("blue", "star"), ("a", "b")]) == [0.5, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore:.* long prompts have more than", "ignore:The training of 2 steps ends within")
def test_a_small_proof_says_all_that_a_proof_must_say(monkeypatch: pytest.MonkeyPatch) -> None:
    from diptych.backbones.sources.load import load

    short = partial(open_scenes, items=3, train=8, epochs=1, batch=4, width=8, layers=1, limit=4, choices=2)
    monkeypatch.setattr(proof, "TRIALS", {"uf-fgtg": replace(proof.TRIALS["uf-fgtg"], bench=short)})
    record = prove("uf-fgtg", load("tiny"), Run(), seeds=(1, 2, 3)).as_dict()
    (data,) = record["datasets"]
    assert [c["name"] for c in data["claims"]] == ["kept", "kept", "distinct_2", "denoising error"]
    assert data["controls"][0]["name"] == "permuted"
    assert set(data["error_told"]) == {"short", "long", "rewritten"}
    assert data["claims"][3]["method"]["value"] < 0
    json.dumps(record)
    with pytest.raises(NotAvailable, match="takes scenes"):
        open_scenes("factors", load("tiny"), Run(), (1, 2, 3))
