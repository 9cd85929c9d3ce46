"""The tasks of finetune and pretrain: measured before and after, written, resumed, refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares
from typer.testing import CliRunner

from diptych.backbones.load import load
from diptych.cli.main import app
from diptych.core.errors import Collapsed, DataError, MissingHook, UsageError
from diptych.core.run import Run
from diptych.core.train import Recipe
from diptych.data.load import open_data
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup
from diptych.methods.pretrain.clip_loss import ClipLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.methods.pretrain.rs_m_clip import RSMClip
from diptych.tasks.training import learns, need_towers, open_pairs_or_classes, tune, with_splits
from diptych.train.schedule import Fit, Schedule
from diptych.train.tuning import TuningTrainee

FIT = Fit(lr=2e-3, batch=10, steps=30, schedule=Schedule(warmup=5), clip=1.0)
TEMPLATES = ("a {} square",)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A small CLIP, class folders with train and test, and a table of captions without splits."""
    root = tmp_path_factory.mktemp("training")
    small_clip(root / "clip")
    items, names, lines = squares(60).items, list(COLOURS), ["path,caption_0,caption_1"]
    for i in range(60):
        name = names[i % 5]
        file = root / "data" / ("train" if i < 40 else "test") / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        items[i].save(file)
        lines.append(f"{file.relative_to(root)},a {name} square,{name}")
    (root / "pairs.csv").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("parts", ["all", "heads"])
def test_a_task_is_learnt_measured_and_written(place: Path, tmp_path: Path, parts: str) -> None:
    data, clip = open_data(place / "data"), load(f"local:{place / 'clip'}")
    before = clip.fingerprint
    found = tune(
        Full(), clip, data, FIT, Run(workers=1), tmp_path, parts=parts, templates=TEMPLATES, elsewhere=[replace(data, name="again")]
    )
    own = data.name
    assert found.after[own]["acc1"] > found.before[own]["acc1"]
    assert found.after["again"]["acc1"] == found.after[own]["acc1"]
    assert set(found.before[own]) == {"acc1", "image_spread", "text_spread", "gap"}
    assert clip.fingerprint == before
    again = load(f"local:{found.folder}")
    with torch.no_grad():
        for modality, batch in (("image", [squares(2).items[i] for i in range(2)]), ("text", ["a red square"])):
            a, b = (s.encoders[modality].encode(s.encoders[modality].inputs(batch)) for s in (again, found.backbone))
            torch.testing.assert_close(a, b)
    assert json.loads(json.dumps(found.as_dict()))["method"] == "full"


def test_captions_are_retrieved_and_a_part_is_held_out(place: Path, tmp_path: Path) -> None:
    data, said = open_pairs_or_classes(str(place / "pairs.csv"), None, None), list[str]()
    clip = load(f"local:{place / 'clip'}")
    found = tune(ClipLoss(), clip, data, FIT, Run(workers=1), tmp_path, say=said.append)
    assert "image_retrieval_recall@5" in found.after["pairs"]
    assert said == ["pairs has no train split: 6 of 60 rows, drawn by the seed, are held out."]
    divided, _ = with_splits(data, 0)
    assert [len(divided.splits[s]) for s in ("train", "test")] == [54, 6]


def test_an_objective_of_pairs_takes_the_prompts_of_labelled_rows(place: Path, tmp_path: Path) -> None:
    clip = load(f"local:{place / 'clip'}")
    found = tune(GeodesicMixup(), clip, open_data(place / "data"), FIT, Run(workers=1), tmp_path, templates=TEMPLATES)
    assert found.after["data"]["acc1"] > 0.5


def test_a_decoder_is_made_where_captions_are_written(place: Path, tmp_path: Path) -> None:
    data, clip = open_pairs_or_classes(str(place / "pairs.csv"), "caption_0", None), load(f"local:{place / 'clip'}")
    found = tune(CoCaLoss(), clip, data, replace(FIT, steps=2), Run(workers=1), tmp_path)
    assert found.facts["beside"] == ["decoder"]


def test_a_stopped_training_goes_on_to_the_same_bits(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, clip, fit = open_data(place / "data"), load(f"local:{place / 'clip'}"), replace(FIT, save_every=2, steps=12, lr=1e-4)
    whole = tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "whole", templates=TEMPLATES)
    losses = TuningTrainee.losses
    monkeypatch.setattr(TuningTrainee, "losses", lambda self, b, p, c: 1 / 0 if c.step == 7 else losses(self, b, p, c))
    with pytest.raises(ZeroDivisionError):
        tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", templates=TEMPLATES)
    monkeypatch.undo()
    again = tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", templates=TEMPLATES, resume=True)
    assert all(torch.equal(t, again.backbone.module().state_dict()[n]) for n, t in whole.backbone.module().state_dict().items())
    with pytest.raises(UsageError, match="exists: give another folder"):
        tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", resume=True)


@dataclass(frozen=True)
class Collapsing(Full):
    """Ends with all vectors at one point."""

    def stages(self, kit, classes, evidence, run, learns=lambda n: True):
        (trainee,) = super().stages(kit, classes, evidence, run, learns)

        def collapse(what, clock):
            with torch.no_grad():
                for name, p in trainee.module().named_parameters():
                    if "visual" in name:
                        p.zero_() if not name.endswith("proj") else None
                        if name.endswith("ln_post.bias"):
                            p.fill_(1.0)

        trainee.after = collapse  # type: ignore[method-assign]
        yield trainee


def test_a_collapse_is_refused(place: Path, tmp_path: Path) -> None:
    clip = load(f"local:{place / 'clip'}")
    method: Recipe = Collapsing()
    with pytest.raises(Collapsed, match=r"The image embeddings collapsed: .* Train with a lower learning rate"):
        tune(method, clip, open_data(place / "data"), FIT, Run(workers=1), tmp_path, templates=TEMPLATES)
    assert not (tmp_path / "model").exists()


def test_parts_name_towers(place: Path) -> None:
    clip = load(f"local:{place / 'clip'}")
    names = [n for n, _ in clip.module().named_parameters()]
    image, text = learns(clip, "image"), learns(clip, "text")
    assert all(image(n) != text(n) for n in names)
    assert all(image(n) == n.startswith("visual") for n in names)
    with pytest.raises(UsageError, match="no part 'ears'"):
        learns(clip, "ears")


def test_data_without_words_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'words'"):
        open_pairs_or_classes(str(place / "pairs.csv"), "words", None)
    with pytest.raises(DataError, match="has no train split"):
        with_splits(open_data(next((place / "data" / "test" / "red").glob("*.png"))), 0)


def test_the_command_lines(place: Path, tmp_path: Path) -> None:
    options = ["--backbone", f"local:{place / 'clip'}", "--cache", str(tmp_path / "cache"), "--workers", "1", "--lr", "2e-3"]
    tuned = ["finetune", str(place / "data"), "--templates", "a {} square", "--epochs", "3", "--train-batch", "10"]
    done = CliRunner().invoke(app, [*tuned, "--out", str(tmp_path / "a"), "--json", *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["method"] == "wise-ft"
    assert report == json.loads((tmp_path / "a" / "report.json").read_text())
    more = ["pretrain", str(place / "pairs.csv"), "--objective", "cloob", "--parts", "heads", "--epochs", "2", "--train-batch", "10"]
    done = CliRunner().invoke(app, [*more, "--out", str(tmp_path / "b"), *options])
    assert done.exit_code == 0, done.output
    assert f"local:{tmp_path / 'b' / 'model'}" in done.stdout
    for wrong, said in (
        (["finetune", str(place / "data"), "--method", "cloob"], "cloob is no system of finetune"),
        (["finetune", str(place / "data"), "--variant", "m9"], "has no variant 'm9'"),
        (["pretrain", str(place / "pairs.csv"), "--objective", "laclip"], "give --rewrites POOL.json"),
        (["pretrain", str(place / "pairs.csv"), "--scratch", "--parts", "heads"], "Heads on random towers"),
    ):
        failed = CliRunner().invoke(app, [*wrong, "--out", str(tmp_path / "c")])
        assert failed.exit_code == 2
        assert said in failed.stderr


def test_held_out_rows_are_drawn_by_the_seed(place: Path) -> None:
    data = open_pairs_or_classes(str(place / "pairs.csv"), None, None)
    keys = [[t.items.key(i) for i in range(len(t))] for t in (with_splits(data, s)[0].splits["test"] for s in (0, 0, 1))]
    assert keys[0] == keys[1] != keys[2]
    assert np.unique(keys[0]).size == 6


def test_what_works_inside_a_tower_is_not_given_heads_alone() -> None:
    with pytest.raises(MissingHook, match=r"rs-m-clip works inside tower:image, .* give --parts all"):
        need_towers(RSMClip(), "heads")
    for method, parts in ((RSMClip(), "all"), (RSMClip(), "text"), (ClipLoss(), "heads")):
        need_towers(method, parts)
