"""Proofs: a system that works is shown, one that does not is not, and the control fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.core import (
    ClassNames,
    Column,
    DataError,
    Evidence,
    MissingEvidence,
    NotAvailable,
    Run,
    Table,
    Text,
    TextPool,
    Texts,
    UsageError,
)
from diptych.data.folders import ImageFiles
from diptych.data.words.pools import Pool
from diptych.evaluation.spoils import SpoilEvidence, shuffled_names
from proofs import classify
from proofs.classify import (
    TRIALS,
    all_labels_shuffled,
    other_rivals,
    random_words,
    shuffled_labels,
    swapped_lists,
    swapped_sides,
)
from proofs.code import code_of
from proofs.prove import planned, prove
from proofs.trial import ROUNDING
from tests.support.colours import ColourBackbone, colour_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_folder(tmp_path_factory.mktemp("proof") / "colours", {"train": 20, "test": 12})


def test_zero_shot_is_shown_on_colours_and_its_control_fails(folder: Path) -> None:
    record = prove("zero-shot", ColourBackbone(), Run(), datasets=[str(folder)], command="diptych prove zero-shot")
    data = json.loads(json.dumps(record.as_dict(), allow_nan=False))
    (entry,) = data["datasets"]
    (claim,), (control,) = entry["claims"], entry["controls"]
    assert data["shown"]
    assert data["stage"] == "reduced"
    assert claim["baseline"]["acc1"] == pytest.approx(0.2)
    assert claim["gain_lower95"] > 0
    assert control["failed"]
    assert control["gain_lower95"] <= 0
    for name in ("claim", "control", "versions", "threads", "seconds", "command", "date", "fingerprint", "machine"):
        assert data[name], name
    assert data["code"] == code_of("zero-shot")
    assert len(entry["data_hash"]) == 64


def test_a_backbone_that_knows_no_colour_shows_nothing(folder: Path) -> None:
    from tests.support.backbone import SmallBackbone

    record = prove("zero-shot", SmallBackbone(), Run(), datasets=[str(folder)], seeds=(1, 2, 3))
    assert not record.shown
    assert record.facts["stage"] is None


def test_three_seeds_show_nothing_where_no_protocol_fixes_them(folder: Path) -> None:
    few, enough = (
        prove("zero-shot", ColourBackbone(), Run(), datasets=[str(folder)], seeds=range(1, n + 1)) for n in (3, 5)
    )
    assert all(claim["shown"] for claim in few.datasets[0]["claims"])
    assert (few.shown, few.facts["stage"], few.facts["seeds_needed"]) == (False, None, 5)
    assert enough.shown


def test_claims_compare_the_same_draws_with_the_baseline_of_the_card(folder: Path) -> None:
    record = prove("gda", ColourBackbone(), Run(), datasets=[str(folder)], seeds=(1, 2, 3))
    (entry,) = record.datasets
    assert [(c["over"], c["shots"]) for c in entry["claims"]] == [
        ("tip-adapter", 16),
        ("zero-shot", 4),
        ("zero-shot", 16),
        ("even-prior", 4),
        ("even-prior", 16),
    ]
    assert [c["shots"] for c in entry["controls"]] == [16, 4]
    for claim in entry["claims"]:
        assert claim["gain"] == pytest.approx(claim["method"]["acc1"] - claim["baseline"]["acc1"])


def test_every_trial_has_a_card_with_claim_and_control() -> None:
    for slug in TRIALS:
        _, proof = planned(slug)
        assert proof is not None
        assert proof.claim
        assert proof.control


def test_shuffles_keep_what_they_must() -> None:
    labels = np.repeat(np.arange(5), 8)
    evidence = Evidence(train=Table(ImageFiles([f"{i}" for i in range(40)]), {"label": Column("label", labels)}))
    classes = ClassNames(("a", "b", "c", "d", "e"))
    _, spoiled = shuffled_labels(classes, evidence, Run(seed=1))
    assert spoiled.train is not None
    assert sorted(spoiled.train.labels()) == sorted(labels)
    assert (spoiled.train.labels() != labels).mean() > 0.5
    assert labels.tolist() == np.repeat(np.arange(5), 8).tolist()
    for seed in range(20):
        renamed, _ = shuffled_names(classes, evidence, Run(seed=seed))
        assert sorted(renamed.names) == list("abcde")
        assert all(a != b for a, b in zip(renamed.names, classes.names, strict=True))
    with pytest.raises(UsageError, match="no train labels"):
        shuffled_labels(classes, Evidence(), Run())


def test_no_choice_sees_a_true_label_where_all_are_shuffled() -> None:
    labels = np.repeat(np.arange(4), 8)
    table: Table[Any] = Table(Texts(tuple(map(str, range(32)))), {"label": Column("label", labels)})
    classes = ClassNames(tuple("abcd"))
    evidence: Evidence[Any] = Evidence(train=table, val=table)
    _, spoiled = all_labels_shuffled(classes, evidence, Run(seed=1))
    assert spoiled.train is not None
    assert spoiled.val is not None
    for held in (spoiled.train, spoiled.val):
        assert sorted(held.labels()) == sorted(labels)
        assert (held.labels() != labels).mean() > 0.5
    assert (spoiled.train.labels() != spoiled.val.labels()).any(), "each has a permutation of its own"
    _, alone = all_labels_shuffled(classes, replace(evidence, val=None), Run(seed=1))
    assert alone.val is None


def test_spoiled_texts_keep_what_they_must(pool: Pool) -> None:
    classes = ClassNames(("red", "green", "blue", "yellow", "pink"))
    evidence: Evidence[Any] = Evidence(texts=pool.texts)
    held = pool.texts.texts

    def spoiled(spoil: SpoilEvidence, seed: int = 1) -> Mapping[str, tuple[Text, ...]]:
        names, found = spoil(classes, evidence, Run(seed=seed))
        assert names == classes
        assert found.texts is not None
        return found.texts.texts

    for seed in range(10):
        lists = spoiled(swapped_lists, seed)
        assert all(lists[name] != held[name] for name in classes), "no class keeps its list"
        assert sorted(str(lists[name]) for name in classes) == sorted(str(held[name]) for name in classes)
    sides = spoiled(swapped_sides)
    assert sides["red | green"] == held["green | red"]
    assert sides["red"] == held["red"]
    words = spoiled(random_words)
    assert set(words) == set(classes)
    assert [[len(t.value.split()) for t in words[c]] for c in classes] == [
        [len(t.value.split()) for t in held[c]] for c in classes
    ]
    assert words != {c: held[c] for c in classes}
    assert words == spoiled(random_words)
    assert words != spoiled(random_words, 2)
    rivals = TextPool(
        {
            "a | b": (Text("1"), Text("2")),
            "a | c": (Text("3"),),
            "a | d": (Text("1"), Text("4")),
            "ab | c": (Text("5"),),
        }
    )
    _, drawn = other_rivals(classes, Evidence(texts=rivals), Run())
    assert drawn.texts is not None
    assert sorted(t.value for t in drawn.texts.texts["a | b"]) == ["3", "4"]
    assert drawn.texts.texts["ab | c"] == (Text("5"),), "nothing else was written for it"
    for spoil in (swapped_lists, swapped_sides, random_words, other_rivals):
        with pytest.raises(MissingEvidence, match="no texts to spoil"):
            spoil(classes, Evidence(), Run())


@pytest.mark.parametrize("slug", ["description", "fudd", "discriminative-descriptions"])
def test_systems_that_read_texts_are_proved_with_the_pool_of_the_data_set(
    slug: str, folder: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.evaluation.few_shot.rows.pool_of", lambda name: pool if name == folder.name else None)
    record = prove(slug, ColourBackbone(), Run(), datasets=[str(folder)], seeds=(1, 2, 3))
    (entry,) = record.datasets
    (claim, *others), (control,), twins = entry["claims"], entry["controls"], entry["beside"]
    assert entry["texts"] == pool.as_dict()
    assert (claim["over"], claim["variant"]) == ("zero-shot", "single")
    trained = slug == "discriminative-descriptions"
    assert (control["over"], control["variant"]) == (("even-prior", None) if trained else ("zero-shot", "single"))
    assert [c["over"] for c in others] == (["even-prior"] if trained else []), "the claim over the control's base"
    assert control["failed"]
    assert [twin["name"] for twin in twins] == list(TRIALS[slug].beside)
    for beside in twins:
        assert beside["gain"] == pytest.approx(claim["method"]["acc1"] - beside["twin"]["acc1"])
    if slug == "description":
        assert control["control"]["acc1"] < claim["method"]["acc1"] - 0.3, "colours live on the names in their texts"
    if slug == "fudd":
        assert control["control"]["acc1"] == claim["method"]["acc1"], "the names are kept, and nothing else is read"


def test_a_data_set_without_a_pool_cannot_prove_what_reads_texts(folder: Path) -> None:
    with pytest.raises(MissingEvidence, match=r"evidence\.texts is missing"):
        prove("description", ColourBackbone(), Run(), datasets=[str(folder)])


def test_what_has_no_proof_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proofs.retrieve.TRIALS", {})
    with pytest.raises(UsageError, match="no system"):
        prove("gpa", ColourBackbone(), Run())
    with pytest.raises(UsageError, match=r"clippings has no proof yet; these have: .*gda"):
        prove("clippings", ColourBackbone(), Run())
    with pytest.raises(UsageError, match="coop has no variant 'mocoop'"):
        prove("coop:mocoop", ColourBackbone(), Run())
    with pytest.raises(UsageError, match="coop:csc has no proof yet"):
        prove("coop:csc", ColourBackbone(), Run())
    with pytest.raises(UsageError, match="at least 3"):
        prove("gda", ColourBackbone(), Run(), seeds=(1, 1, 1))


def test_a_data_set_that_is_not_here_is_told_before_the_first_is_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    monkeypatch.setattr("proofs.classify.open_bench", lambda *given: pytest.fail("measured"))
    with pytest.raises(NotAvailable, match="cifar10_small is not here"):
        prove("zero-shot", ColourBackbone(), Run(), datasets=[str(folder), "cifar10_small"])


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_written_verdicts_follow_from_their_own_intervals(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    if found.get("kind") != "proof":
        pytest.skip("no proof")
    claims = [item for d in found["datasets"] for item in d["claims"]]
    controls = [item for d in found["datasets"] for item in d["controls"]]
    assert claims
    for item, name, expected in (*((c, "shown", True) for c in claims), *((c, "failed", False) for c in controls)):
        if "gain_lower95" in item:
            assert item[name] == ((item["gain_lower95"] > ROUNDING) is expected), item
    if found["shown"]:
        assert all(c["shown"] for c in claims)
        assert all(c["failed"] for c in controls)
    _, plan = planned(found["slug"])
    assert plan is not None
    judged = plan.not_shown == "unknown" or plan.not_shown.startswith(("backbone: ", "protocol: ", "paper: "))
    if (found["claim"], found["control"]) == (plan.claim, plan.control):
        assert judged is not found["shown"], "a card says why its proof is not shown"


APART = {
    "feature-memory": "its control ranks halves of the normal photos, whose AUROC is a measure of its own",
    "long-clip": "its control reads captions with other ends, of which the truncated base reads none",
    "mmvp": "its control is of other pairs, for which the encoders' roles are swapped",
    "rs-m-clip": "permuted translations are 0.1 points above the names in English alone, and no interval is known",
}
"""Proof -> why its written control does not speak of the base of a claim."""


def test_a_control_speaks_of_the_base_of_a_claim() -> None:
    """A gain over one base says nothing of a control that is compared with another one only: it must have no gain over
    a base of the claims either, by its interval, or by means that lie the other way round.
    """
    written = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    silent = {
        found["slug"]
        for found in written
        if found.get("kind") == "proof" and found["shown"]
        for d in found["datasets"]
        if d["claims"]
        and not any(_spoken(claim, control, found["metric"]) for claim in d["claims"] for control in d["controls"])
    }
    assert silent == set(APART)


def _spoken(claim: Mapping[str, Any], control: Mapping[str, Any], metric: str) -> bool:
    part = claim.get("what", metric)
    if control.get("what", metric) != part or claim.get("where") != control.get("where"):
        return False
    same = all(claim.get(key) == control.get(key) for key in ("over", "variant", "shots"))
    return same or bool(control["control"][part] <= claim["baseline"][part])


def test_a_set_on_which_zero_shot_knows_nothing_proves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demanding = replace(TRIALS["zero-shot"], bench=partial(classify.open_bench, times_chance=5.1))
    monkeypatch.setattr(classify, "TRIALS", {"zero-shot": demanding})
    with pytest.raises(DataError, match=r"less than 5\.1 times chance"):
        prove("zero-shot", ColourBackbone(), Run(), datasets=[str(folder)])
    assert TRIALS["nola"].bench.keywords == {"times_chance": 3.0, "teacher": "tiny"}  # type: ignore[union-attr]
