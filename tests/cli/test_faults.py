"""Every verb that writes, stopped at every write, fsync and rename: see ``tests.support.faults``."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from diptych.cli.main import app
from diptych.features import head_cache
from diptych.methods.audit import clip4dm
from diptych.methods.edit import deltaedit
from diptych.methods.segment import maskclip, stuff_context
from diptych.nn.dense.label_maps import Windows
from diptych.store.store import Store
from diptych.tasks.export import tower as export_tower
from diptych.tasks.export.gate import Parity
from diptych.train import batches
from tests.support.colours import COLOURS, colour_folder, colour_pool, coloured
from tests.support.deep_backbone import DeepBackbone
from tests.support.dense_colours import DenseColours, masked_folder
from tests.support.faults import (
    Faults,
    Snapshots,
    check_database,
    check_tensors,
    contents,
    drafts,
    whole,
)
from tests.support.scratches import scratched_folder
from tests.support.small_clip import small_clip

MODULE = re.compile(r'"diptych\.[a-z_.]+')
"""A module path in a JSON file: what is saved must outlive a move."""
BY_NUMBER = re.compile("/(plans|shards)/")
"""Files whose names tell how often work was begun."""


@dataclass(frozen=True)
class Verb:
    """A command line and what it writes.

    Args:
        words: of the command, which writes below ``out``.
        earlier: words of a run before it, whose results it replaces; "": there is nothing.
        again: flags with which a run goes on after it was stopped.
        code: exit code of a run that nothing stops.
    """

    words: str
    earlier: str = ""
    again: str = ""
    code: int = 0


PHOTOS = "photos/test"
ONE = "photos/test/red"
VERBS = {
    "classify json": Verb(
        f"classify {ONE} --names red,green --out out/x.json --overwrite",
        f"classify {PHOTOS} --names red,blue --out out/x.json",
    ),
    "classify csv": Verb(f"classify {ONE} --names red,green --out out/x.csv", again="--overwrite"),
    "classify html": Verb(f"classify {ONE} --names red,green --out out/x.html", again="--overwrite"),
    "caption": Verb(
        f"caption {ONE} --texts words.txt --out out/x.json --overwrite",
        f"caption {PHOTOS} --texts words.txt --out out/x.json",
    ),
    "segment": Verb(
        "segment photos/test/red/0.png --names red,green --out out --overwrite",
        "segment photos/test/red/0.png --names red,blue --out out",
    ),
    "detect": Verb(f"detect {ONE} --normal photos/train/red --method gaussian --out out", again="--overwrite"),
    "encode": Verb(f"encode {ONE} --out out --overwrite", f"encode {PHOTOS} --out out"),
    "edit": Verb("edit --source red --target blue --count 1 --fitted out/kept --out out/pictures", again="--overwrite"),
    "index": Verb("index photos/test --out out"),
    "index more": Verb("index photos --out out", "index photos/test --out out"),
    "search": Verb("search idx red --html out/x.html --overwrite", "search idx blue --html out/x.html"),
    "link": Verb("link a.csv b.csv --method string-matching --out out/x.csv", again="--overwrite"),
    "audit groups": Verb(
        "audit groups set --group light --out out/x.json --overwrite", "audit groups set --group light --out out/x.json"
    ),
    "board classify": Verb("board classify photos --methods gda --shots 1 --seeds 1 --export best --out out"),
    "board classify again": Verb(
        "board classify photos --methods gda --shots 1 --seeds 1,2 --out out",
        "board classify photos --methods gda --shots 1 --seeds 1 --out out",
    ),
    "board few-shot": Verb("board few-shot photos --methods gda --shots 1 --seeds 1 --out out"),
    "board caption": Verb("board caption said.csv --methods nearest-caption --seeds 1 --out out", again="--overwrite"),
    "board detect": Verb(
        "board detect plate --methods gaussian --false-alarm-rate 0.3 --seeds 1 --out out", again="--overwrite"
    ),
    "board segment": Verb("board segment maps --methods maskclip --seeds 1 --out out", again="--overwrite"),
    "board curate": Verb(
        "board curate said.csv --methods clip-score --metadata walls.txt --seeds 1 --out out", again="--overwrite"
    ),
    "board retrieve": Verb(
        "board retrieve things.csv --entity kind --methods string-matching --seeds 1 --out out", again="--overwrite"
    ),
    "board extend": Verb("board extend clips --methods frame-mean --seeds 1 --frames 2 --out out", again="--overwrite"),
    "board finetune": Verb(
        "board finetune photos --methods full --seeds 1 --epochs 1 --backbone local:clip --out out", again="--overwrite"
    ),
    "board pretrain": Verb(
        "board pretrain said.csv --methods clip-loss --seeds 1 --epochs 1 --backbone local:clip --out out",
        again="--overwrite",
    ),
    "ablate": Verb(
        "ablate photos --texts texts.json --methods description --seeds 1 --out out/x.json --overwrite",
        "ablate photos --texts texts.json --methods description --seeds 2 --out out/x.json",
    ),
    "prove": Verb("prove maskclip --data maps --seeds 1,2,3 --out out", again="--overwrite", code=5),
    "audit pairs": Verb(
        "audit pairs said.csv --image path --text caption_0 --threshold 0 --backbone deep --out out/x.json --overwrite",
        "audit pairs said.csv --image path --text caption_1 --threshold 0 --backbone deep --out out/x.json",
    ),
    "audit pairs html": Verb(
        "audit pairs said.csv --image path --text caption_0 --threshold 0 --backbone deep --out out/x.html",
        again="--overwrite",
    ),
    "extend": Verb("extend clips --frames 2 --epochs 1 --backbone local:clip --out out/tuned"),
    "curate plan": Verb(
        "curate plan pool.txt --metadata names.txt --out out/plan.parquet --overwrite", again="--resume"
    ),
    "curate plan clip-score": Verb(
        "curate plan said.csv --image path --text caption_0 --method clip-score --out out/plan.json",
        again="--resume --overwrite",
    ),
    "curate apply": Verb(
        "curate apply pool.txt --metadata names.txt --plan plan.parquet --t 50 --out out", again="--resume"
    ),
    "curate regions": Verb("curate regions said.csv --captions caption_0 --out out/x.csv", again="--overwrite"),
    "export": Verb("export lite --to onnx --out out --overwrite", "export lite --to onnx --out out"),
    "encode into a new cache": Verb(f"encode {ONE} --cache out/cache --batch 8 --out out/e", again="--overwrite"),
    "cache move": Verb(
        "cache move out/new --idle 0 --cache out/cache", f"encode {ONE} --cache out/cache --batch 8 --out out/e"
    ),
    "cache prune": Verb(
        "cache prune --max-size 0 --idle 0 --cache out/cache", f"encode {ONE} --cache out/cache --batch 8 --out out/e"
    ),
    "engines": Verb(f"classify {ONE} --names red --engine auto --cache out/cache --out out/x.csv", again="--overwrite"),
    "finetune": Verb(
        "finetune photos --parts heads --epochs 1 --train-batch 10 --backbone local:clip --out out", again="--resume"
    ),
    "pretrain": Verb(
        "pretrain said.csv --parts heads --epochs 1 --train-batch 4 --backbone local:clip --out out", again="--resume"
    ),
}
"""What each verb is asked; the cache is filled before, so that only what the user asked for is stopped."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the verbs read."""
    root = tmp_path_factory.mktemp("given")
    colour_folder(root / "photos", {"train": 4, "test": 2})
    small_clip(root / "clip")
    (root / "words.txt").write_text("a red wall\na blue sea\n")
    (root / "pool.txt").write_text("\n".join("a cat" if i % 10 else "an axolotl" for i in range(100)))
    (root / "names.txt").write_text("cat\naxolotl")
    (root / "walls.txt").write_text("wall\nred\nblue")
    said = [
        f"photos/train/{n}/{i}.png,a {n} wall,{n} paint,{'train' if i else 'test'}"
        for n in ("red", "blue", "green")
        for i in range(4)
    ]
    (root / "said.csv").write_text("\n".join(["path,caption_0,caption_1,split", *said]) + "\n")
    (root / "texts.json").write_text(json.dumps(colour_pool()))
    things = [f"{name} thing {k},{name}" for name in COLOURS for k in range(3)]
    (root / "things.csv").write_text("\n".join(["text,kind", *things]) + "\n")
    scratched_folder(root / "plate", train=6, good=2, bad=2)
    masked_folder(root / "maps")
    for split in ("train", "test"):
        for name in ("red", "blue"):
            for n in range(2):
                coloured(root / "clips" / split / name / "clip" / f"{n}.png", name, n)
    (root / "a.csv").write_text("id,name\na0,north mill\na1,old bakery\n")
    (root / "b.csv").write_text("id,name\nb0,north mill co\nb1,old bakery co\n")
    rows = ["path,class,light"]
    rng = np.random.default_rng(0)
    for i in range(120):
        name = list(COLOURS)[i % 3]
        shown = list(COLOURS)[int(rng.integers(3))] if i % 2 else name
        coloured(root / "set" / f"{i}.png", shown, i, noise=5.0)
        rows.append(f"{i}.png,{name},{'dim' if i % 2 else 'bright'}")
    (root / "set" / "labels.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def place(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from diptych.backbones.sources import load

    real, loader = load.load, batches._loader

    def fake(name: str = "lite", **more: Any) -> Any:
        if name == "deep":
            return DeepBackbone()
        return real(name, **more) if name.startswith("local:") else DenseColours(name=name)

    monkeypatch.setattr(load, "load", fake)
    # rows are read in this process: to start others in each of several hundred trainings takes longer than to train
    monkeypatch.setattr(
        batches, "_loader", lambda views, run, workers, order, **more: loader(views, run, 0, order, **more)
    )
    monkeypatch.setitem(
        deltaedit.DeltaEdit.card.variants, "small", {"bank": 8, "passes": 1, "batch": 4, "width": 8, "probes": 1}
    )  # type: ignore[arg-type]
    monkeypatch.setattr(clip4dm.CLIP4DM, "__init__", partialmethod(clip4dm.CLIP4DM.__init__, layers=2))
    for kind, small in (
        (maskclip.MaskCLIP, {"windows": Windows(32, 32, 32)}),
        (stuff_context.StuffContext, {"sides": (32,)}),
    ):
        monkeypatch.setattr(kind, "__init__", partialmethod(kind.__init__, **small))
    monkeypatch.setattr(export_tower, "parity", lambda *given: Parity(1, 1.0, 1.0, 1.0, 1.0))
    monkeypatch.setattr(
        export_tower, "_written", lambda encoder, folder, *rest: (folder / "model.onnx").write_text("g")
    )
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIPTYCH_ENGINE", "torch")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for path in given.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: str) -> int:
    """Run a command line, and return its exit code."""
    result = CliRunner().invoke(app, words.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    assert "should not happen" not in result.output, result.output
    return result.exit_code


@pytest.mark.filterwarnings("ignore:A training that was stopped goes on")
@pytest.mark.parametrize("name", list(VERBS))
def test_a_verb_that_is_stopped_anywhere_leaves_old_or_new(
    name: str, place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, out, states = VERBS[name], place / "out", tmp_path_factory.mktemp("states")

    def reset(state: Path) -> None:
        """Let a state of the output be all that there is; the next process has read nothing of another state."""
        monkeypatch.setattr(head_cache, "_RECENT", head_cache._RecentHeads())
        for path in (out, *place.glob(".out*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if state.exists():
            shutil.copytree(state, place, dirs_exist_ok=True)

    def check(folder: Path, where: str) -> frozenset[tuple[str, bool]]:
        """Check that what a stop left can be read, and return the names of its files and which of them are old."""
        left = contents(folder)
        assert all(old.get(path) == content or whole(path, content) for path, content in left.items()), where
        for store in (p.parent for p in folder.rglob("store.json")):
            damage = [d for d in Store(store).verify() if d.path.exists()]  # a space that was begun may lack its facts
            assert damage == [], where
        for path in folder.rglob("*.safetensors"):
            check_tensors(path)
        for path in folder.rglob("*.sqlite"):
            check_database(path)
        return frozenset((path, old.get(path) == content) for path, content in left.items())

    def go_on(where: str) -> None:
        again = run(f"{verb.words} {verb.again}")
        assert again == verb.code, f"{where}: the next run ends with {again}"
        assert {n for n in contents(out) if not BY_NUMBER.search(n)} >= {n for n in new if not BY_NUMBER.search(n)}, (
            where
        )

    if name == "search":
        assert run("index photos/test --out idx") == 0
    if name == "curate apply":
        assert run("curate plan pool.txt --metadata names.txt") == 0
    if verb.earlier:
        assert run(verb.earlier) == 0
        shutil.copytree(out, states / "before" / "out")
    old = contents(out)
    assert run(verb.words) == verb.code, "before anything fails"
    new = contents(out)
    for path, content in new.items():
        if path.endswith(".json"):
            assert not MODULE.search(content.decode()), f"{path} names a module"
    assert drafts(out) == []

    reset(states / "before")
    with monkeypatch.context() as patch:
        kills = Snapshots(patch, out, states)
        assert run(verb.words) == verb.code
    assert kills.count > 1 or name == "cache prune", "nothing was written"
    before, gone_on = None, set[frozenset[tuple[str, bool]]]()
    for at, operation in enumerate(kills.seen):
        killed, where = states / str(at), f"{name}, kill at {operation} ({at + 1})"
        left = check(killed / "out", where)
        if left != before or at % 4 == 3:  # else but for a draft the state of the last stop
            reset(killed)
            go_on(where)
            if drafts(killed / "out") == []:
                gone_on.add(left)
        before = left

    for at in range(1, kills.count + 1):
        if kills.stacks[at - 1] in kills.stacks[at:]:
            continue  # the same lines write more later, and what handles an error there handles this one
        reset(states / "before")
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, "full", out)
            code = run(verb.words)
        if faults.count < at:
            assert code == verb.code
            break
        where = f"{name}, full at {faults.seen[at - 1]} ({at})"
        left = check(out, where)
        if name == "engines" and code == 0:  # what is remembered of a backbone only saves time
            assert ("out/x.csv", False) in left
            continue
        assert code != 0, f"{where}: exit code 0"
        assert drafts(out) == [], f"{where}: {drafts(out)}"
        if left not in gone_on:  # a killed run, which left no draft, left the same
            gone_on.add(left)
            go_on(where)
