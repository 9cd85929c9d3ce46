"""The tasks of finetune and pretrain: measured before and after, written, resumed, refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from diptych.backbones.sources.load import load
from diptych.cli.main import app
from diptych.core import Collapsed, Column, DataError, Recipe, Run, Table, UsageError
from diptych.data.folders import ImageFiles
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.methods.pretrain.diva import DIVA
from diptych.tasks.training.data import by_labels, with_splits
from diptych.tasks.training.tune import tune
from diptych.train.schedule import Fit, Schedule
from diptych.train.tuning import TuningTrainee
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import training_folder
from tests.train.test_pair import COLOURS, squares

FIT = Fit(lr=2e-3, batch=10, steps=30, schedule=Schedule(warmup=5), clip=1.0)
TEMPLATES = ("a {} square",)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A small CLIP, class folders with train and test, and a table of captions without splits."""
    return training_folder(tmp_path_factory.mktemp("training"), 60, 40)


@pytest.mark.parametrize("parts", ["all", "heads"])
def test_a_task_is_learnt_measured_and_written(place: Path, tmp_path: Path, parts: str) -> None:
    data, clip = open_data(place / "data"), load(f"local:{place / 'clip'}")
    before = clip.fingerprint
    found = tune(
        Full(),
        clip,
        data,
        FIT,
        Run(workers=1),
        tmp_path,
        parts=parts,
        templates=TEMPLATES,
        elsewhere=[replace(data, name="again")],
    )
    own = data.name
    assert found.after[own]["acc1"] > found.before[own]["acc1"]
    assert found.after["again"]["acc1"] == found.after[own]["acc1"]
    assert set(found.before[own]) == {"acc1", "image_to_image_map", "image_spread", "text_spread", "gap"}
    assert found.after[own]["image_to_image_map"] == pytest.approx(1.0)  # squares of a colour find each other
    assert clip.fingerprint == before
    again = load(f"local:{found.folder}")
    with torch.no_grad():
        for modality, batch in (("image", [squares(2).items[i] for i in range(2)]), ("text", ["a red square"])):
            a, b = (s.encoders[modality].encode(s.encoders[modality].inputs(batch)) for s in (again, found.backbone))
            torch.testing.assert_close(a, b)
    assert json.loads(json.dumps(found.as_dict()))["method"] == "full"


def test_captions_are_retrieved_and_a_part_is_held_out(place: Path, tmp_path: Path) -> None:
    data, said = open_data(str(place / "pairs.csv"), need="captions or classes"), list[str]()
    clip = load(f"local:{place / 'clip'}")
    tuned = tune(CLIPLoss(), clip, data, FIT, Run(workers=1), tmp_path, say=said.append)
    assert "image_retrieval_recall@5" in tuned.after["pairs"]
    assert said[:1] == ["pairs has no train split: 6 of 60 rows, drawn by the seed, are held out."]
    divided, _ = with_splits(data, 0)
    assert [len(divided.splits[s]) for s in ("train", "test")] == [54, 6]


def test_few_rows_are_one_batch(place: Path, tmp_path: Path) -> None:
    data, said = open_data(place / "data"), list[str]()
    tuned = tune(
        Full(), load("tiny"), data, Fit(lr=1e-3, batch=64, steps=2), Run(), tmp_path, parts="heads", say=said.append
    )
    assert said == ["The rows to learn from do not fill a batch of 64: a step takes 40."]
    assert (tuned.facts["batch"], tuned.facts["steps"]) == (40, 2)


def test_a_finished_training_of_one_small_batch_is_returned(place: Path, tmp_path: Path) -> None:
    data, fit = open_data(place / "data"), Fit(lr=1e-3, batch=64, steps=2)
    first = tune(Full(), load("tiny"), data, fit, Run(), tmp_path, parts="heads")
    again = tune(Full(), load("tiny"), data, fit, Run(), tmp_path, parts="heads", resume=True)
    assert (again.after, again.facts["fingerprint"]) == (first.after, first.facts["fingerprint"])


def test_a_training_of_something_else_is_neither_returned_nor_lengthened(place: Path, tmp_path: Path) -> None:
    data, fit, clip = open_data(place / "data"), Fit(lr=1e-3, batch=64, steps=2), load("tiny")
    tune(CLIPLoss(), clip, data, fit, Run(), tmp_path, parts="heads")
    report = (tmp_path / "report.json").read_bytes()
    other = replace(data, splits={"train": data.splits["test"], "test": data.splits["train"]})
    for says, changed in (
        ("other data", {"data": other}),
        ("other data", {"data": other, "fit": replace(fit, steps=3)}),
        ("backbone .*, now ", {"backbone": load(f"local:{place / 'clip'}")}),
        ("templates .*, now ", {"templates": ("a {}.",)}),
        ("method clip-loss, now full", {"method": Full()}),
    ):
        given: dict[str, Any] = {"method": CLIPLoss(), "backbone": clip, "data": data, "fit": fit, **changed}
        with pytest.raises(UsageError, match=rf"began with something else \(.*{says}"):
            tune(run=Run(), out=tmp_path, parts="heads", resume=True, **given)
    assert (tmp_path / "report.json").read_bytes() == report


def test_a_warm_up_that_takes_all_of_the_training_is_mentioned(place: Path, tmp_path: Path) -> None:
    data, fit = open_data(place / "data"), Fit(lr=1e-3, batch=20, epochs=2, schedule=Schedule(warmup=9))

    def remarks(fit: Fit, out: str) -> list[str]:
        said = list[str]()
        tune(Full(), load("tiny"), data, fit, Run(), tmp_path / out, parts="heads", say=said.append)
        return said

    assert remarks(fit, "long") == [
        "The warm-up takes all 4 steps, so most learn at less than 0.001: give a shorter one."
    ]
    assert remarks(replace(fit, schedule=Schedule(warmup=9, warmup_share=0.5)), "half") == []


def test_an_objective_of_pairs_takes_the_prompts_of_labelled_rows(place: Path, tmp_path: Path) -> None:
    clip = load(f"local:{place / 'clip'}")
    tuned = tune(GeodesicMixup(), clip, open_data(place / "data"), FIT, Run(workers=1), tmp_path, templates=TEMPLATES)
    assert tuned.after["data"]["acc1"] > 0.5


def test_a_decoder_is_made_where_captions_are_written(place: Path, tmp_path: Path) -> None:
    data, clip = (
        open_data(str(place / "pairs.csv"), need="captions or classes", text="caption_0"),
        load(f"local:{place / 'clip'}"),
    )
    tuned = tune(CoCaLoss(), clip, data, replace(FIT, steps=2), Run(workers=1), tmp_path)
    assert tuned.facts["beside"] == ["decoder"]


def test_a_stopped_training_goes_on_to_the_same_bits(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, clip, fit = (
        open_data(place / "data"),
        load(f"local:{place / 'clip'}"),
        replace(FIT, save_every=2, steps=12, lr=1e-4),
    )
    whole = tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "whole", templates=TEMPLATES)
    losses = TuningTrainee.losses
    monkeypatch.setattr(TuningTrainee, "losses", lambda self, b, p, c: 1 / 0 if c.step == 7 else losses(self, b, p, c))
    with pytest.raises(ZeroDivisionError):
        tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", templates=TEMPLATES)
    monkeypatch.undo()
    again = tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", templates=TEMPLATES, resume=True)
    assert all(
        torch.equal(t, again.backbone.module().state_dict()[n]) for n, t in whole.backbone.module().state_dict().items()
    )
    ended = tune(Full(), clip, data, fit, Run(workers=1), tmp_path / "cut", templates=TEMPLATES, resume=True)
    assert ended.as_dict() == json.loads((tmp_path / "cut" / "report.json").read_text())
    weights = again.backbone.module().state_dict()
    assert all(torch.equal(t, weights[n]) for n, t in ended.backbone.module().state_dict().items())
    other = replace(fit, lr=1e-3)
    with pytest.raises(UsageError, match=r"is finished, .* with other settings"):
        tune(Full(), clip, data, other, Run(workers=1), tmp_path / "cut", templates=TEMPLATES, resume=True)


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
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["folder"] == str(tmp_path / "doubted")
    assert report["doubt"].startswith("The image embeddings collapsed")
    assert load(f"local:{tmp_path / 'doubted'}").spec.dim == clip.spec.dim


def test_random_weights_are_no_reference_for_a_collapse(place: Path, tmp_path: Path, monkeypatch) -> None:
    """The towers of a training from scratch contract, and know less than by luck before."""
    monkeypatch.setattr("diptych.tasks.training.measures.COLLAPSE", 10.0)  # whatever is learnt is less than that
    clip, data = load(f"local:{place / 'clip'}"), open_data(place / "data")
    with pytest.raises(Collapsed, match=r"written apart, to .*doubted"):
        tune(Full(), clip, data, replace(FIT, steps=2), Run(workers=1), tmp_path / "a", templates=TEMPLATES)
    tuned = tune(
        Full(), clip, data, replace(FIT, steps=2), Run(workers=1), tmp_path / "b", templates=TEMPLATES, scratch=True
    )
    assert tuned.folder == tmp_path / "b" / "model"


def test_data_without_words_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'words'"):
        open_data(str(place / "pairs.csv"), need="captions or classes", text="words")
    with pytest.raises(DataError, match="has no train split, and its 1 row cannot be divided: give"):
        with_splits(open_data(next((place / "data" / "test" / "red").glob("*.png"))), 0)


def test_photos_alone_are_enough_for_a_system_that_says_so_and_for_no_other(place: Path, tmp_path: Path) -> None:
    data = LabelledData("mine", (), {"test": Table(squares(20).items)})
    clip = load(f"local:{place / 'clip'}")
    with pytest.raises(DataError, match="mine has neither labels nor captions, and clip-loss needs one of them"):
        tune(CLIPLoss(), clip, data, FIT, Run(workers=1), tmp_path / "pairs")
    kit, fit = {"diffusion": random_diffusion(clip)}, replace(FIT, steps=2)
    found = tune(DIVA(), clip, data, fit, Run(workers=1), tmp_path / "alone", kit=kit)
    assert list(found.before["mine"]) == list(found.after["mine"]) == ["image_spread"]
    again = load(f"local:{found.folder}")
    assert again.fingerprint == found.backbone.fingerprint
    assert [c.kind for c in again.spec.changes] == ["cls-and-patches"]


@pytest.fixture
def spoilt(place: Path) -> Iterator[Path]:
    """Labelled folders and a table with splits of which a train photo is cut off and a test photo is gone."""
    lines = ["path,split,caption"]
    for split in ("train", "val", "test"):
        for number, file in enumerate(
            sorted((place / "data" / ("train" if split == "train" else "test")).rglob("*.png"))
        ):
            to = place / "spoilt" / split / file.parent.name / file.name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(file.read_bytes()[: 60 if (split, number) == ("train", 3) else None])
            gone = "gone.png" if (split, number) == ("test", 2) else ""
            lines.append(f"{gone or to.relative_to(place)},{split},a {file.parent.name} square")
    (place / "spoilt" / "test" / "red" / "bad.png").write_text("no picture")
    (place / "spoilt.csv").write_text("\n".join(lines))
    yield place
    shutil.rmtree(place / "spoilt")


@pytest.mark.parametrize("parts", ["all", "heads"])
def test_what_cannot_be_read_is_left_out_before_the_training_and_named(
    spoilt: Path, tmp_path: Path, parts: str
) -> None:
    data, clip, said = open_data(spoilt / "spoilt"), load(f"local:{spoilt / 'clip'}"), list[str]()
    fit = replace(FIT, steps=None, epochs=2)  # every row is seen
    tuned = tune(
        Full(),
        clip,
        data,
        fit,
        Run(workers=1),
        tmp_path,
        parts=parts,
        templates=TEMPLATES,
        elsewhere=[replace(data, name="again")],
        say=said.append,
    )
    names = [Path(e.name).name for e in tuned.failed]
    cut = sorted((spoilt / "data" / "train").rglob("*.png"))[3].name
    assert names == [cut, "bad.png", "bad.png"]  # of train and test, and of the same test photos as other data
    assert [Path(e["path"]).name for e in tuned.as_dict()["skipped"]] == names
    assert len(said) == 1
    assert said[0].startswith("3 unreadable photos left out; the first: ")
    assert set(tuned.after) == {"spoilt", "again"}


def test_captioned_photos_that_cannot_be_read_take_their_captions_along(spoilt: Path, tmp_path: Path) -> None:
    data = open_data(str(spoilt / "spoilt.csv"), need="captions or classes")
    tuned = tune(
        CLIPLoss(), load(f"local:{spoilt / 'clip'}"), data, replace(FIT, steps=None, epochs=1), Run(workers=1), tmp_path
    )
    assert [e.reason for e in tuned.failed] == ["truncated PNG file (60 bytes)", "no such file"]
    none = replace(data, splits={**data.splits, "val": replace(data.split("val"), items=ImageFiles(["gone.png"] * 20))})
    with pytest.raises(
        DataError, match=r"None of the 20 photos of spoilt, val, can be read; the first: gone.png: no such file"
    ):
        tune(CLIPLoss(), load(f"local:{spoilt / 'clip'}"), none, FIT, Run(workers=1), tmp_path / "b")


def test_photos_are_decoded_once_where_their_vectors_are_made_anyway(place: Path, tmp_path: Path) -> None:
    data, clip, seen = open_data(place / "data"), load(f"local:{place / 'clip'}"), list[int]()

    class Counted(ImageFiles):
        def __getitem__(self, index: int, /) -> Image.Image:
            seen.append(index)
            return super().__getitem__(index)

    for parts, times in (("heads", 1), ("all", 2)):  # whole towers read the train photos of one epoch after the check
        splits = {
            s: replace(t, items=Counted([t.items.name(i) for i in range(len(t))])) for s, t in data.splits.items()
        }
        seen.clear()
        fit = replace(FIT, steps=None, epochs=1)
        run = Run(workers=0, cache=tmp_path / f"cache-{parts}")
        before = {s: len(t) for s, t in splits.items()}
        tune(Full(), clip, replace(data, splits=splits), fit, run, tmp_path / parts, parts=parts, templates=TEMPLATES)
        after = before["test"] if parts == "all" else 0  # measured again by the trained tower
        assert len(seen) == times * before["train"] + before["test"] + after


@pytest.mark.parametrize("parts", ["all", "heads"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_caption_that_is_too_long_is_an_error_before_the_training(
    place: Path, tmp_path: Path, split: str, parts: str
) -> None:
    data = captioned(("train", "val", "test"))
    long = ("a red square", "very " * 90 + "red")
    captions = (*data.split(split).columns["captions"].values[:-1], long)
    wrong = Table(data.split(split).items, {"captions": Column("captions", captions)})
    with pytest.raises(UsageError, match=r"^19: The text 'very very .* reads \d+: shorten it"):
        tune(
            CLIPLoss(),
            load(f"local:{place / 'clip'}"),
            put(data, split, wrong),
            FIT,
            Run(workers=1),
            tmp_path,
            parts=parts,
        )
    assert not list(tmp_path.iterdir())
    cut = load(f"local:{place / 'clip'}?truncate")
    tune(CLIPLoss(), cut, put(data, split, wrong), replace(FIT, steps=1), Run(workers=1), tmp_path, parts=parts)


def test_a_decoder_that_cannot_read_a_caption_says_so_before_the_training(place: Path, tmp_path: Path) -> None:
    data = captioned(("train", "val", "test"))
    captions = (*data.split("val").columns["captions"].values[:-1], ("very " * 300,))
    wrong = put(data, "val", Table(data.split("val").items, {"captions": Column("captions", captions)}))
    with pytest.raises(UsageError, match=r"^19: A caption must have at most 256 words and marks, .*, got 302"):
        tune(CoCaLoss(), load(f"local:{place / 'clip'}?truncate"), wrong, FIT, Run(workers=1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_row_without_captions_is_named_before_the_training(place: Path, tmp_path: Path) -> None:
    data = captioned(("train", "test"))
    captions = (*data.split("train").columns["captions"].values[:-1], ())
    wrong = put(data, "train", Table(data.split("train").items, {"captions": Column("captions", captions)}))
    with pytest.raises(DataError, match=r"^19 of data has no caption: fill it, or remove the row"):
        tune(CLIPLoss(), load(f"local:{place / 'clip'}"), wrong, FIT, Run(workers=1), tmp_path)
    assert not list(tmp_path.iterdir())


def captioned(splits: tuple[str, ...]) -> LabelledData:
    return LabelledData("data", (), {s: squares(20) for s in splits})


def put(data: LabelledData, split: str, table: Table[Any]) -> LabelledData:
    return replace(data, splits={**data.splits, split: table})


def test_the_command_lines(place: Path, tmp_path: Path) -> None:
    options = [
        "--backbone",
        f"local:{place / 'clip'}",
        "--cache",
        str(tmp_path / "cache"),
        "--workers",
        "1",
        "--lr",
        "2e-3",
    ]
    tuned = ["finetune", str(place / "data"), "--templates", "a {} square", "--epochs", "3", "--train-batch", "10"]
    done = CliRunner().invoke(app, [*tuned, "--out", str(tmp_path / "a"), "--json", *options])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["method"] == "wise-ft"
    assert report == json.loads((tmp_path / "a" / "report.json").read_text())
    more = [
        "pretrain",
        str(place / "pairs.csv"),
        "--objective",
        "cloob",
        "--parts",
        "heads",
        "--epochs",
        "2",
        "--train-batch",
        "10",
    ]
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


@pytest.mark.parametrize("words", [["finetune", "spoilt", "--templates", "a {} square"], ["pretrain", "spoilt.csv"]])
def test_the_exit_code_says_that_something_was_left_out(spoilt: Path, tmp_path: Path, words: list[str]) -> None:
    options = [
        "--backbone",
        f"local:{spoilt / 'clip'}",
        "--cache",
        str(tmp_path / "cache"),
        "--workers",
        "1",
        "--parts",
        "heads",
    ]
    verb, source, *more = words
    done = CliRunner().invoke(
        app,
        [
            verb,
            str(spoilt / source),
            *more,
            "--epochs",
            "1",
            "--train-batch",
            "10",
            "--out",
            str(tmp_path / "a"),
            "--json",
            *options,
        ],
    )
    assert done.exit_code == 3, done.output
    assert "2 skipped:" in done.stderr
    assert json.loads(done.stdout)["skipped"] == json.loads((tmp_path / "a" / "report.json").read_text())["skipped"]
    assert len(json.loads(done.stdout)["skipped"]) == 2


def test_held_out_rows_are_drawn_by_the_seed(place: Path) -> None:
    data = open_data(str(place / "pairs.csv"), need="captions or classes")
    keys = [
        [t.items.key(i) for i in range(len(t))] for t in (with_splits(data, s)[0].splits["test"] for s in (0, 0, 1))
    ]
    assert keys[0] == keys[1] != keys[2]
    assert np.unique(keys[0]).size == 6


def test_what_is_measured_beside_a_training_is_classes_where_there_are_labels() -> None:
    table = squares(20)
    columns = {**table.columns, "label": Column("label", np.arange(20) % 5)}
    both = LabelledData("both", tuple(COLOURS), {"test": Table(table.items, columns)})
    assert set(by_labels(both).splits["test"].columns) == {"label"}
    told = LabelledData("told", (), {"test": table})
    assert by_labels(told) is told


def test_reports_and_logs_of_others_are_not_written_over(place: Path, tmp_path: Path) -> None:
    backbone, data = load(f"local:{place / 'clip'}"), open_data(str(place / "data"))
    for name, resume, said in (
        ("report.json", False, "report.json exists"),
        ("report.json", True, "is finished, as .*report.json says"),
        ("log.jsonl", False, "log.jsonl exists"),
        ("log.jsonl", True, "is no log of a training"),
    ):
        out = tmp_path / f"{name}-{resume}"
        out.mkdir()
        (out / name).write_text("mine\n")
        with pytest.raises(UsageError, match=said):
            tune(Full(), backbone, data, replace(FIT, steps=1), Run(), out, parts="heads", resume=resume)
        assert (out / name).read_text() == "mine\n"


def test_torchrun_trains_in_one_folder_what_one_process_trains(place: Path, tmp_path: Path) -> None:
    def words(out: Path) -> list[str]:
        command = ["finetune", str(place / "data"), "--backbone", f"local:{place / 'clip'}", "--parts", "all"]
        command += ["--lr", "0.002", "--train-batch", "10", "--epochs", "2", "--out", str(out), "--json"]
        return [*command, "--cache", str(tmp_path / "cache"), "--device", "cpu"]

    def reported(out: Path, said: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(said)  # one report, from one process
        assert json.loads((out / "report.json").read_text())["fingerprint"] == report["fingerprint"]
        return report

    alone = CliRunner().invoke(app, words(tmp_path / "one"))
    assert alone.exit_code == 0, alone.output
    run = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", sys.executable)
    command = [sys.executable, *run, "-m", "diptych.cli", *words(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = reported(tmp_path / "one", alone.stdout), reported(tmp_path / "two", done.stdout)
    assert one["steps"] == two["steps"] == 8
    states = [load_file(tmp_path / n / "model" / "open_clip_model.safetensors") for n in ("one", "two")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, atol=2e-3, rtol=2e-3)


def test_a_collapse_is_said_while_the_training_runs(place: Path, tmp_path: Path) -> None:
    clip, said = load(f"local:{place / 'clip'}"), list[str]()
    with pytest.raises(Collapsed):
        tune(Collapsing(), clip, open_data(place / "data"), replace(FIT, steps=9), Run(), tmp_path, say=said.append)
    assert len([s for s in said if "collapsed at step 4" in s]) == 1


def test_one_class_has_nothing_to_be_told_from(place: Path, tmp_path: Path) -> None:
    name = next(iter(COLOURS))
    for split in ("train", "test"):
        shutil.copytree(place / "data" / split / name, tmp_path / "data" / split / name)
    with pytest.raises(DataError, match=f"data has one class, {name}, and nothing to tell it from: add a folder"):
        tune(Full(), load("tiny"), open_data(tmp_path / "data"), FIT, Run(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_finished_training_is_lengthened_on_request_alone(place: Path, tmp_path: Path) -> None:
    # 40 rows in batches of 10: the training ends with an epoch, else what is left of it would not be trained on
    data, fit = open_data(place / "data"), replace(FIT, steps=4, schedule=Schedule("constant"))

    def tuned(fit: Fit, out: Path, resume: bool = False) -> Any:
        return tune(Full(), load("tiny"), data, fit, Run(workers=0), out, parts="heads", resume=resume)

    tuned(fit, tmp_path / "a")
    assert tuned(fit, tmp_path / "a", resume=True).facts["steps"] == 4
    with pytest.raises(UsageError, match="is finished"):
        tuned(replace(fit, steps=3), tmp_path / "a", resume=True)
    with pytest.raises(UsageError, match="exists"):
        tuned(replace(fit, steps=6), tmp_path / "a")
    longer, whole = (
        tuned(replace(fit, steps=6), tmp_path / "a", resume=True),
        tuned(replace(fit, steps=6), tmp_path / "b"),
    )
    assert longer.facts["steps"] == 6
    assert longer.facts["fingerprint"] == whole.facts["fingerprint"]


def test_a_finished_training_that_refuses_to_be_lengthened_stays_finished(place: Path, tmp_path: Path) -> None:
    data, fit = open_data(place / "data"), replace(FIT, steps=4, schedule=Schedule("constant"))

    def tuned(fit: Fit) -> Any:
        return tune(Full(), load("tiny"), data, fit, Run(workers=0), tmp_path, parts="heads", resume=True)

    first, report = tuned(fit), tmp_path / "report.json"
    said = report.read_bytes()
    with pytest.raises(UsageError, match="another fit, seed or groups"):
        tuned(replace(fit, steps=6, lr=1e-2))
    assert report.read_bytes() == said
    assert tuned(fit).facts["fingerprint"] == first.facts["fingerprint"]
