"""Proofs of trainings, on coloured squares and a small random CLIP with few steps: the bench, not the claims."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.backbones.sources.load import load
from diptych.core import ClassNames, Column, NotAvailable, Run, Table, Texts
from diptych.data.named_sets import present
from diptych.evaluation.arms import Arm
from diptych.evaluation.boards.tune import BEFORE, Training
from diptych.evaluation.boards.tune_parts import chance, recalls
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.vr_lwf import VRLwF
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.cloob import CLOOB
from diptych.methods.pretrain.laclip import LaCLIP
from proofs import finetune
from proofs.benches.training import coca, pairs
from proofs.benches.training.pairs import FRESH, NewHeads, open_pairs, shuffled_captions
from proofs.finetune import open_task, random_teacher, shuffled_labels
from proofs.pretrain import TRIALS, first_captions, other_people, people
from proofs.trial import Claim, Trial
from tests.support.proofs import judged
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares

FIT = replace(FRESH, batch=20, steps=60, lr=1e-2)
RUN, SEEDS = Run(workers=1), (1, 2, 3)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("proofs")
    small_clip(root / "clip")
    items, names, lines = squares(60).items, list(COLOURS), ["path,split,caption_0,caption_1"]
    for i in range(60):
        split, name = ("train" if i < 40 else "val"), names[i % 5]
        file = root / "data" / split / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        items[i].save(file)
        lines.append(f"{split}/{name}/{i}.png,{split},a {name} square {i},{name} number {i}")
    (root / "data" / "captions.csv").write_text("\n".join(lines))
    return root


def verdict(trial, place: Path):
    return judged(trial, "x", str(place / "data"), load(f"local:{place / 'clip'}"), RUN, SEEDS, open_pairs)


def test_pairs_are_found_above_chance_and_not_after_a_shuffle(place: Path) -> None:
    how = Training(CLIPLoss(), FIT, start=NewHeads())
    at_5 = Claim("chance", part="recall_at_5")
    shuffled = replace(at_5, arm=Arm(replace(how, rows=shuffled_captions)))
    trial = Trial((at_5,), arm=Arm(how), controls=(shuffled,))
    result = verdict(trial, place)
    (claim,), (control,) = result["claims"], result["controls"]
    assert claim["shown"]
    assert claim["method"]["recall_at_5"] == pytest.approx(claim["baseline"]["recall_at_5"] + claim["gain"])
    assert claim["method"]["recall_at_5"] > control["control"]["recall_at_5"]
    assert (result["items"], result["train"]) == (20, 40)


def test_rank_writers_and_differences(place: Path) -> None:
    arm, cloob = Arm(Training(CLIPLoss(), FIT, start=NewHeads())), Arm(Training(CLOOB(), FIT, start=NewHeads()))
    lac = Training(LaCLIP(rewrites=1), FIT, rows=first_captions, kit=people, start=NewHeads())
    others = Arm(replace(lac, kit=other_people))
    trial = Trial(
        (Claim("clip-loss", base=arm, part="effective_rank"), Claim("chance", arm=Arm(lac), part="recall_at_5")),
        arm=cloob,
        controls=(Claim("clip-loss", arm=arm, base=cloob, less=(arm, cloob), part="recall_at_1"),),
        beside={"others": Claim("laclip", arm=others, base=Arm(lac))},
    )
    result = verdict(trial, place)
    assert result["claims"][0]["what"] == "effective_rank"
    assert 0 < result["claims"][0]["method"]["effective_rank"] < 1
    assert result["controls"][0]["gain"] == 0.0
    assert result["controls"][0]["failed"]


def test_chance_and_recall_in_closed_form() -> None:
    images, owner = torch.eye(4), np.arange(4)
    assert recalls(images, images, owner)["recall_at_1"].tolist() == [1, 1, 1, 1]
    assert recalls(images, images.flip(0), owner)["recall_at_1"].tolist() == [0, 0, 0, 0]
    flat = recalls(torch.ones(4, 1), torch.ones(8, 1), np.repeat(owner, 2))
    assert flat["recall_at_1"].tolist() == [0, 0, 0, 0]  # ties count against
    captions = Column("captions", (("a", "b", "c"), ("d",), ("e", "f")))
    expected = chance(Table(Texts(("x", "y", "z")), {"captions": captions}), None)
    rng = np.random.default_rng(0)
    owner = np.array([0, 0, 0, 1, 2, 2])
    drawn = [
        recalls(torch.from_numpy(rng.normal(size=(3, 9))), torch.from_numpy(rng.normal(size=(6, 9))), owner)
        for _ in range(4000)
    ]
    for k in (1, 5):
        mean = np.mean([own[f"recall_at_{k}"] for own in drawn], axis=0)
        assert mean == pytest.approx(expected[f"recall_at_{k}"], abs=0.03)
    labels = Table(Texts(("x", "y")), {"label": Column("label", np.array([0, 1]))})
    assert chance(labels, ClassNames(("a", "b"), ("{}",)))["task"].tolist() == [0.5, 0.5]


def test_captions_are_likelier_under_their_photo(place: Path) -> None:
    result = verdict(
        replace(TRIALS["coca-loss"], bench=partial(coca.open_captioning, fit=replace(FIT, lr=1e-3, steps=5))), place
    )
    (claim,) = result["claims"]
    assert claim["baseline"]["own_photo"] == 0.5
    assert 0 < claim["method"]["own_photo"] <= 1


def test_a_task_is_learnt_and_others_are_measured(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "FIT", FIT)
    monkeypatch.setattr(finetune, "OTHER_SETS", (str(place / "data"),))
    over, full = Claim("zero-shot", base=BEFORE), Training(Full())
    trial = Trial(
        (over,),
        arm=Arm(full),
        controls=(
            replace(over, arm=Arm(replace(full, rows=shuffled_labels)), name="labels"),
            replace(over, arm=Arm(Training(VRLwF(size=8), kit=random_teacher)), name="teacher"),
        ),
        beside={"one sentence": Arm(Training(VRLwF(size=1, over_texts=False, smoothing=0.0)))},
        bench=open_task,
    )
    # a folder with captions.csv and class folders is both kinds of data: labels count
    result = verdict(trial, place)
    (claim,) = result["claims"]
    assert claim["shown"]
    assert claim["method"]["acc1_others"] == claim["method"]["acc1_task"]
    assert result["controls"][0]["failed"]
    assert result["beside"][0]["gain"] == 0.0


def test_every_trial_names_what_is_absent() -> None:
    for trials, opener in ((TRIALS, open_pairs), (finetune.TRIALS, open_task)):
        for trial in trials.values():
            with pytest.raises(NotAvailable, match=r"(are|is) not here"):
                judged(trial, "x", "no such data", None, RUN, SEEDS, opener)  # type: ignore[arg-type]
    with pytest.raises(NotAvailable):
        present("nowhere", "captions.csv")


def test_whole_towers_learn_a_task_and_are_asked_for_scenes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "WHOLE", replace(FIT, lr=1e-3, steps=30))
    monkeypatch.setattr(finetune, "SCENES", 20)
    over, full = Claim("zero-shot", base=BEFORE), Training(Full())
    shuffled = replace(over, arm=Arm(replace(full, rows=shuffled_labels)))
    trial = Trial((over,), arm=Arm(full), controls=(shuffled,), bench=open_task)
    judgement = judged(trial, "x", f"towers:{place / 'data'}", load(f"local:{place / 'clip'}"), RUN, SEEDS)
    assert judgement["claims"][0]["shown"]
    assert judgement["controls"][0]["failed"]
    assert (judgement["trains"], judgement["others"], judgement["sizes"]) == (
        ["all but the scale"],
        ["composed scenes"],
        {"task": 20, "others": 20},
    )


def test_what_is_reported_beside_cloob_is_over_clip() -> None:
    recalls, ranks = TRIALS["cloob"].beside.values()
    assert (recalls.arm, recalls.base.system.method, recalls.part) == (None, CLIPLoss(), "recall_at_1")
    assert (ranks.arm.system.method, ranks.base.system.method, ranks.part) == (
        CLOOB(beta=None),
        CLIPLoss(),
        "effective_rank",
    )


def test_a_set_of_one_split_is_held_out_whole_and_heads_learn_from_another(
    captioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(captioned, alone)
    rows = (alone / "captions.csv").read_text(encoding="utf-8")
    (alone / "captions.csv").write_text(rows.replace(",train,", ",test,").replace(",val,", ",test,"), encoding="utf-8")
    monkeypatch.setattr(pairs, "TRAINED_ON", str(captioned))
    clip = small_clip(tmp_path / "clip")
    bench = pairs.open_pairs(str(alone), clip, RUN, SEEDS)
    facts = {name: bench.facts[name] for name in ("split", "items", "train", "trained_on")}
    assert facts == {"split": "test", "items": 30, "train": 18, "trained_on": str(captioned)}
    assert "trained_on" not in pairs.open_pairs(str(captioned), clip, RUN, SEEDS).facts
