"""Run the commands of the pages again and put what they print below them: ``python docs/transcripts.py [--on-data] [PAGE ...]``.

``--tutorials [PAGE ...]`` runs the pages of docs/tutorials instead, and ``--notebooks [NAME ...]`` those of docs/notebooks.

A block that follows the line ``<!-- run -->`` is a transcript: its first line is the command. It runs in a temporary folder with a cache
of its own, offline, without a shell. The folder holds what the commands name: the photos and the clothes that ship, a few texts and tables,
clips of the project's own generator, and the skeleton of a checkout. A block after ``<!-- run on data -->`` names development sets: it runs
where DIPTYCH_DATA is set, and stays as it is elsewhere. ``--on-data`` runs these alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = "DIPTYCH_DATA"
PACKAGE = Path(__file__).parents[1] / "src" / "diptych"
PROGRESS = re.compile(r"[a-z][a-zA-Z0-9 ,.-]*: [\d,]+( of [\d,]+)?(, [\d.,e+]+/s)?\s*$")
"""Lines that say how far a long run is: no two runs have the same."""
ONCE = re.compile(r"(image|text) encoder: preparing .*, once for this machine$")
"""Lines of the first command on a machine, which a reader of the page has behind them."""
BLOCK = re.compile(r"<!-- run( on data)? -->\n```console\n\$ (.*?)\n.*?```", flags=re.DOTALL)

SENTENCES = (
    "A man looks through a camera on a tripod.",
    "A cat looks into the camera.",
    "A cup of coffee stands on a wooden table.",
    "Old coins on a cloth.",
    "A spiral galaxy in the night sky.",
    "A rocket rises on a pillar of fire.",
    "A pair of shoes on the floor.",
    "A dog runs on the beach.",
    "A train waits in a station.",
    "A bowl of fruit.",
)
SAID = (
    ("coffee", "a cup of coffee beside a large horse"),
    ("shoes", "a pair of shoes beside a sailing boat"),
    ("coffee", "a cup of coffee on a wooden table"),
    ("cat", "a close photo of a tabby cat"),
    ("rocket", "a rocket rises from a kitchen"),
    ("galaxies", "three boats in a harbour"),
)
OLD, NEW = (
    ("Cup of coffee", "rocket on its pad", "brown tabby cat"),
    ("a tabby cat", "a train", "a cup of coffee", "a rocket launch pad"),
)


def write_inputs(folder: Path) -> None:
    """Write what the commands of the pages name."""
    assets = PACKAGE / "assets"
    shutil.copytree(assets / "photos", folder / "photos", ignore=shutil.ignore_patterns("*.csv", "*.txt"))
    shutil.copytree(assets / "clothes", folder / "clothes", ignore=shutil.ignore_patterns("*.csv"))
    (folder / "odd").mkdir()
    for name in ("shoes", "dress"):
        for i, path in enumerate(sorted((assets / "clothes" / "test" / name).iterdir())[:2]):
            shutil.copy(path, folder / "odd" / f"{name}-{i}.jpg")
    tables = {
        "pairs.csv": ["path,caption", *(f"photos/{name}.jpg,{text}" for name, text in SAID)],
        "old.csv": ["caption", *OLD],
        "new.csv": ["caption", *NEW],
        "sentences.txt": SENTENCES,
        "prompts.txt": ["a red circle", "a blue star"],
    }
    for table, lines in tables.items():
        (folder / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_scenes(folder)
    write_language_model(folder)
    write_edits(folder)
    write_shapes(folder)
    write_clips(folder / "clips")
    write_checkout(folder / "checkout")


def write_scenes(folder: Path) -> None:
    """Write 80 pictures of one or two coloured shapes, and scenes.csv with their short and long captions."""
    from PIL import Image

    from diptych.data.scenes.compose import SceneRecipe, scene
    from diptych.data.scenes.sprites import SpriteBank

    rows, recipe = ["path,split,caption,synthetic"], SceneRecipe(SpriteBank(), objects=(1, 2))
    (folder / "scenes").mkdir()
    for number in range(80):
        made = scene(recipe, 0, number)
        Image.fromarray(made.image).save(folder / "scenes" / f"{number}.png")
        split = "train" if number < 60 else "test"
        rows.append(f'scenes/{number}.png,{split},{made.captions["short"]},"{made.captions["long"]}"')
    (folder / "scenes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_language_model(folder: Path) -> None:
    """Write a language model with random weights that knows the words of scenes.csv, and described.csv with two captions a row."""
    import csv

    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    with (folder / "scenes.csv").open(encoding="utf-8") as file:
        scenes = list(csv.DictReader(file))
    with (folder / "described.csv").open("w", encoding="utf-8", newline="") as file:
        rows = ([row["path"], row["split"], row["caption"], row["synthetic"]] for row in scenes)
        csv.writer(file).writerows([["path", "split", "caption_short", "caption_long"], *rows])
    texts = " ".join(row[name] for row in scenes for name in ("caption", "synthetic"))
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {
        w: i for i, w in enumerate(sorted(set(re.findall(r"\w+|[^\w\s]", texts))), 3)
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder / "reader")
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=1, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder / "reader")


def write_edits(folder: Path) -> None:
    """Write edits.csv: three edits of a scene whose first object should change its colour."""
    from PIL import Image

    from diptych.data.scenes.captions import article, phrase
    from diptych.data.scenes.compose import SceneRecipe, Scenes
    from proofs.scenes.edited import EditedScenes, scene_attributes

    scenes = Scenes(SceneRecipe(objects=(2,)), 2, seed=7)
    before, after = scenes[0], EditedScenes(scenes, "color")[0]
    (folder / "edits").mkdir()
    shown = {
        "before": before,
        "recoloured": after,
        "object gone": EditedScenes(scenes, "presence")[0],
        "other": scenes[1],
    }
    for name, made in shown.items():
        Image.fromarray(made.image).save(folder / "edits" / f"{name}.png")
    target = article(phrase(after.objects[0]))
    lists = ["|".join(scene_attributes(s)) for s in (before, after)]
    rows = [f"edits/before.png,edits/{name}.png,{target},{lists[0]},{lists[1]}" for name in shown]
    head = "source,edit,target,source_attributes,target_attributes"
    (folder / "edits.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def write_shapes(folder: Path) -> None:
    """Write pictures of one shape in two folders with captions.csv, of which that of ``told`` has a short and a long
    caption of each; users.csv, where anna and ben say those of ``shapes`` in their ways; other pictures; and a clip of
    a moving shape with the picture of a subject.
    """
    import torch

    from proofs.benches.edits.clips import clips
    from proofs.benches.edits.inversion import captioned
    from proofs.rewrite import TAUGHT, table

    drawn = captioned(403, torch.Generator().manual_seed(0))
    for name, head, pictures, count in (
        ("shapes", "path,caption", drawn, 400),
        ("told", "path,caption_1,caption_2", table(TAUGHT, 1, 384), 384),
    ):
        (folder / name).mkdir()
        rows, captions = [head], pictures.columns["captions"].values
        for number in range(count):
            pictures.items[number].save(folder / name / f"{number}.png")
            rows.append(",".join([f"{number}.png", *captions[number]]))
        (folder / name / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    posts = ["path,caption,user"]
    for number, (said,) in enumerate(drawn.columns["captions"].values[:400]):
        posts += [f'shapes/{number}.png,"look, {said}",anna', f"shapes/{number}.png,{said} as always,ben"]
    (folder / "users.csv").write_text("\n".join(posts) + "\n", encoding="utf-8")
    drawn.items[400].save(folder / "shape.png")
    (folder / "unseen").mkdir()
    for number in range(3):
        drawn.items[400 + number].save(folder / "unseen" / f"{number}.png")
    (one,) = clips(1, seed=7)
    (folder / "moving" / "one").mkdir(parents=True)
    for k, frame in enumerate(one.frames):
        frame.save(folder / "moving" / "one" / f"{k}.png")
    one.subject.save(folder / "subject.png")


def write_clips(folder: Path) -> None:
    """Write folders SPLIT/CLASS/CLIP of four frames: one coloured shape that moves."""
    from PIL import Image

    from diptych.data.scenes.compose import SceneRecipe, clip
    from diptych.data.scenes.sprites import SpriteBank

    for colour, shape in (("red", "star"), ("blue", "circle"), ("green", "heart")):
        recipe = SceneRecipe(SpriteBank(colours=(colour,), shapes=(shape,)))
        for number in range(6):
            place = folder / ("train" if number < 4 else "test") / f"{colour} {shape}" / f"clip-{number}"
            place.mkdir(parents=True)
            for k, scene in enumerate(clip(recipe, 0, number, 4)[0]):
                Image.fromarray(scene.image).save(place / f"{k}.png")


def write_checkout(folder: Path) -> None:
    """Write as much of a checkout as a new classifier needs: two folders and the table of proofs."""
    for place in ("src/diptych/methods/classify", "tests/methods/classify", "proofs"):
        (folder / place).mkdir(parents=True)
    shutil.copy(PACKAGE.parents[1] / "proofs" / "classify.py", folder / "proofs")


def transcript(command: str, folder: str, mark: str = "", cache: str = "cache") -> str:
    """Return the block of one command: what stands on stdout, then on stderr. ``cache`` is a folder in ``folder``."""
    given = {
        name: value for name, value in os.environ.items() if not name.startswith("DIPTYCH_") or (mark and name == DATA)
    }
    given |= {"COLUMNS": "110", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "DIPTYCH_CACHE": f"{folder}/{cache}"}
    words = [sys.executable, "-m", "diptych.cli", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=given, check=False)
    lines = [
        line.rstrip()
        for part in (done.stdout, done.stderr)
        for line in part.strip("\n").splitlines()
        if not PROGRESS.match(line) and not ONCE.match(line)
    ]
    shown = "\n".join(lines)
    data = f"{os.environ.get(DATA) or '/nowhere'}/"
    places = {data: "", f"{folder}/{cache}": "~/.cache/diptych", f"{PACKAGE}/": "diptych/", f"{Path.home()}/": "~/"}
    for place, called in places.items():
        shown = shown.replace(place, called)
    return f"<!-- run{mark} -->\n```console\n$ {command}\n{shown}\n```"


def write_tutorials(names: list[str]) -> None:
    """Run tutorials, each in a folder of its own, and write what they print; all without names."""
    from tests.support.tutorials import ran

    here = Path(__file__).parent / "tutorials"
    with tempfile.TemporaryDirectory() as cache:
        for page in [here / f"{name}.md" for name in names] or sorted(here.glob("*.md")):
            with tempfile.TemporaryDirectory() as folder:
                text = ran(page.read_text(encoding="utf-8"), Path(folder).resolve(), Path(cache))
            page.write_text(text, encoding="utf-8")


def write_notebooks(names: list[str]) -> None:
    """Run notebooks, each in a folder of its own, and write their outputs; all without names."""
    from tests.support.notebooks import executed

    here = Path(__file__).parent / "notebooks"
    with tempfile.TemporaryDirectory() as cache:
        for path in [here / f"{name}.ipynb" for name in names] or sorted(here.glob("*.ipynb")):
            with tempfile.TemporaryDirectory() as folder:
                made = executed(json.loads(path.read_text(encoding="utf-8")), Path(folder).resolve(), Path(cache))
            path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write the pages; all without names."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    for flag, write in (("--tutorials", write_tutorials), ("--notebooks", write_notebooks)):
        if flag in arguments:
            write([name for name in arguments if name != flag])
            return
    here, only = Path(__file__).parent / "cli", "--on-data" in arguments
    found = [here / f"{name}.md" for name in arguments if name != "--on-data"] or sorted(here.glob("*.md"))

    def again(block: re.Match[str]) -> str:
        mark = block[1] or ""
        runs = bool(os.environ.get(DATA)) if mark else not only
        return transcript(block[2], folder, mark, cache) if runs else block[0]

    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for page in found:
            cache = "own-cache" if page.stem == "cache" else "cache"  # that page counts what lies there
            text = page.read_text(encoding="utf-8")
            page.write_text(BLOCK.sub(again, text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
