"""How a training runs, by flags and by recipe files."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import webdataset
from safetensors.torch import load_file
from typer.testing import CliRunner

from diptych.backbones.sources.load import load
from diptych.cli.main import app
from tests.support.small_clip import small_clip
from tests.train.test_pair import COLOURS, squares


def run_cli(*words: str | Path) -> Any:
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output + done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small CLIP."""
    root = tmp_path_factory.mktemp("options")
    small_clip(root / "clip")
    return root


@pytest.fixture(scope="module")
def shards(place: Path) -> Path:
    """Four tars of 15 pairs, in a folder."""
    folder = place / "shards"
    folder.mkdir()
    items, names = squares(60).items, list(COLOURS)
    for shard in range(4):
        with webdataset.TarWriter(str(folder / f"{shard}.tar")) as writer:
            for i in range(15 * shard, 15 * shard + 15):
                file = io.BytesIO()
                items[i].save(file, "png")
                writer.write({"__key__": f"{i:03}", "png": file.getvalue(), "txt": f"a {names[i % 5]} square"})
    return folder


def test_tars_train_by_the_command_line_and_a_recipe_repeats_the_run(place: Path, shards: Path, tmp_path: Path) -> None:
    words = ["pretrain", f"{shards}/{{0..3}}.tar", "--backbone", f"local:{place / 'clip'}", "--cache", tmp_path / "c"]
    words += ["--steps", "12", "--train-batch", "5", "--accum-freq", "2", "--held-out", "10", "--lr", "2e-3"]
    words += ["--ema", "0.5", "--betas", "0.9,0.95", "--warmup", "2", "--schedule", "constant", "--cooldown", "4"]
    words += [
        "--min-lr",
        "2e-4",
        "--layer-decay",
        "0.9",
        "--patch-dropout",
        "0.25",
        "--crop",
        "0.8",
        "--recolour",
        "--grad-checkpointing",
        "--chunk",
        "2",
    ]
    words += ["--measure-every", "6", "--workers", "1", "--unlock", "1", "--parts", "text", "--log-every", "2"]
    one = json.loads(run_cli(*words, "--out", tmp_path / "a", "--json").stdout)
    assert one["steps"] == 12
    assert [r["step"] for r in one["during"]] == [6]  # the last step is measured as "after"
    assert one["fit"]["schedule"] == {
        "kind": "constant", "warmup": 2, "floor": pytest.approx(0.1), "cooldown": 4, "warmup_share": None,
    }  # fmt: skip
    assert (one["fit"]["cached"], one["fit"]["accumulate"], one["fit"]["ema"]) == (True, 2, 0.5)
    records = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    losses = [r for r in records if "main/contrastive" in r]
    assert [r["step"] for r in losses] == [1, 2, 4, 6, 8, 10, 12]
    assert losses[-1]["lr"] == pytest.approx(2e-3 * (0.1 + 0.9 * 1 / 4))
    assert {"scale", "gradient_norm/main", "samples_per_second"} <= losses[0].keys()
    recipe = tmp_path / "a" / "recipe.toml"
    written = tomllib.loads(recipe.read_text())
    assert (written["steps"], written["min-lr"]) == (12, 2e-4)
    assert not {"cache", "device", "workers"} & written.keys()  # of the machine
    two = json.loads(
        run_cli("pretrain", "--recipe", recipe, "--cache", tmp_path / "c", "--out", tmp_path / "b", "--json").stdout
    )
    assert two["fingerprint"] == one["fingerprint"]
    assert (tmp_path / "b" / "recipe.toml").read_text() == recipe.read_text()
    other = run_cli(
        "pretrain",
        shards,
        "--recipe",
        recipe,
        "--steps",
        "6",
        "--cache",
        tmp_path / "c",
        "--out",
        tmp_path / "d",
        "--json",
    )
    assert json.loads(other.stdout)["steps"] == 6  # what the command line says counts
    moved = {n for n, t in load_file(tmp_path / "a/model/open_clip_model.safetensors").items()
             if not torch.equal(t, load(f"local:{place / 'clip'}").module().state_dict()[n])}  # fmt: skip
    last = {"visual.proj", "visual.ln_post.weight", "visual.ln_post.bias"}
    assert {n for n in moved if n.startswith("visual.")} == last


def test_recipes_and_flags_that_cannot_be_are_refused(place: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('command = "pretrain"\nlearning-rate = 1\n')
    (tmp_path / "other.toml").write_text('command = "finetune"\n')
    tars = f"{shards}/{{0..3}}.tar"
    for words, said in (
        (["--recipe", str(tmp_path / "wrong.toml")], "has learning_rate"),
        (["--recipe", str(tmp_path / "other.toml")], "is for finetune"),
        (["--recipe", str(tmp_path / "none.toml")], "none.toml cannot be read as a recipe (No such file or directory)"),
        ([tars, "--betas", "0.9"], "two numbers"),
        ([tars, "--schedule", "linear"], "must be one of 'cosine', 'constant', got 'linear'"),
        ([tars, "--cooldown", "5"], "take the constant schedule"),
        ([tars, "--schedule", "constant", "--cooldown", "5", "--steps", "4"], "longer than the training of 4"),
        ([tars, "--log", "tb"], "--log takes wandb, not 'tb'"),
        ([tars, "--chunk", "2", "--objective", "cloob"], "does not read --chunk"),
        ([tars, "--objective", "clip-moe", "--held-out", "10", "--steps", "2"], "reads its rows more than once"),
        ([tars, "--objective", "sycoca", "--held-out", "10", "--steps", "2"], "give a table, or a CoCa"),
        ([tars, "--crop", "1.5", "--held-out", "10", "--steps", "2"], "--crop must be in (0, 1], got 1.5"),
        ([tars, "--recolour", "--held-out", "10", "--steps", "2"], "No --crop is given, so --recolour has no effect"),
        ([tars, "--precision", "fp16", "--held-out", "10", "--steps", "2"], "Training in fp16 needs a GPU"),
        ([tars, "--held-out", "100", "--steps", "2"], "lower --held-out"),
        ([tars, "--unlock", "1", "--held-out", "10", "--steps", "2"], "locks, not all"),
    ):
        command = ["pretrain", *words, "--backbone", f"local:{place / 'clip'}", "--out", str(tmp_path / "o")]
        failed = CliRunner().invoke(app, command)
        assert failed.exit_code in (1, 2), failed.output
        assert said in failed.stderr


@pytest.mark.parametrize("slug", ["a-clip", "diva", "lightclip", "long-clip", "rs-m-clip"])
def test_recipes_that_look_at_no_row_before_train_on_pairs_that_pass_by(
    place: Path, shards: Path, tmp_path: Path, slug: str
) -> None:
    words = ["pretrain", f"{shards}/{{0..3}}.tar", "-m", slug, "--backbone", f"local:{place / 'clip'}", "--steps", "2"]
    words += ["--cache", tmp_path / "c", "--train-batch", "5", "--held-out", "10", "--workers", "0"]
    words += ["--set", "components=3"] if slug == "long-clip" else []  # of a batch of 5
    done = json.loads(run_cli(*words, "--out", tmp_path / "a", "--json").stdout)
    assert (done["steps"], done["method"]) == (2, slug)
    before = load(f"local:{place / 'clip'}").module().state_dict()
    after = load(f"local:{tmp_path / 'a' / 'model'}").module().state_dict()
    assert any(not torch.equal(t, before[n]) for n, t in after.items() if n in before and t.shape == before[n].shape)


def test_a_dry_run_and_settings_of_the_system(place: Path, shards: Path, tmp_path: Path) -> None:
    words = ["pretrain", f"{shards}/{{0..3}}.tar", "--backbone", f"local:{place / 'clip'}", "--cache", tmp_path / "c"]
    words += ["--steps", "50", "--train-batch", "5", "--held-out", "10", "-m", "cloob", "--set", "published"]
    done = run_cli(*words, "--set", "beta=none", "--dry-run", "--out", tmp_path / "a")
    assert done.stdout.startswith("3 steps of 5 items on cpu: ")
    assert not (tmp_path / "a").exists()
    wrong = CliRunner().invoke(app, [str(w) for w in [*words, "--set", "betas=1", "--dry-run"]])
    assert wrong.exit_code == 2
    assert "CLOOB has no setting 'betas', did you mean 'beta'?" in wrong.stderr
