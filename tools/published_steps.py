"""Take three steps of each published training here, with random weights in the authors' shapes: time and memory.

    DIPTYCH_DATA=... python -m tools.published_steps [SLUG ...]

Writes results/published_steps.json, which ``tools/published_table.py`` puts into docs/published.md. Towers, sizes and
settings are those of the card; a batch is as large as a processor and 24 GB allow, so seconds and memory are of that
batch. A system that is not in ``TRIALS`` has its reason in ``WITHOUT``.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog
from diptych.cli.declared import flag_of
from diptych.verbs.train.finetune import Finetune
from diptych.verbs.train.pretrain import Pretrain

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "results" / "published_steps.json"
PATIENCE = 1500
ROWS = 96
"""Captioned photos that a trial reads."""
B32, B16, L14, L336 = ("ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu", "ViT-L-14-336-quickgelu")
MAPS = "msrc_small"
SEGMENT = f"segment {{data}}/demo_photos --names grass,tree,cow,sky --train {{data}}/{MAPS}"
REGIONS = "pretrain {data}/coco_mini --regions {data}/coco_mini/instances.csv"
TRIALS: dict[str, tuple[str, str, int]] = {
    "a-clip": ("pretrain {work}/pairs.csv", B16, 16),
    "clip-moe": ("pretrain {work}/pairs.csv", L14, 4),
    "cloc": (REGIONS, B16, 8),
    "cloob": ("pretrain {work}/pairs.csv", "RN50-quickgelu", 16),
    "diva": ("pretrain {work}/pairs.csv", L336, 2),
    "grain": (REGIONS, B16, 8),
    "laclip": ("pretrain {work}/pairs.csv --rewrites {work}/rewrites.json", B16, 16),
    "long-clip": ("pretrain {work}/pairs.csv", B16, 4),  # ViT-L/14 with 40 items took more than 19 GB
    "quality-captions": ("pretrain {work}/taught.jsonl", B16, 16),
    "geodesic-mixup": ("finetune {work}/pairs.csv", B32, 16),
    "vr-lwf": ("finetune {work}/classes", B16, 16),
    "fc-clip": (SEGMENT, "convnext_large_d_320", 1),
    "maft-plus": (SEGMENT, "convnext_large_d_320", 1),
    "clip-dinoiser": (f"segment {{data}}/demo_photos --names grass,tree --unlabelled {{data}}/{MAPS}", B16, 4),
    "ovseg": (
        "segment {data}/demo_photos --names grass,tree --captioned {data}/coco_mini --set photos=2 --set regions=8",
        B16,  # the authors' smaller tower; three steps of ViT-L/14 took more than 25 minutes at a load of 12
        2,
    ),
    "anomalyclip": ("detect {data}/textile_sim/test/local --auxiliary {work}/tiles", L336, 2),
    "clip-reward": ("caption {data}/demo_photos --like {work}/pairs.csv", "RN50-quickgelu", 8),
    "maccap": ("caption {data}/demo_photos --texts {work}/pairs.csv", B32, 8),
    "user-aware-prefix": ("caption {data}/demo_photos --like {work}/pairs.csv", B32, 8),
    "ila": ("extend {work}/clips", B16, 2),
    "vifi-clip": ("extend {work}/clips", B16, 1),
    "clip2point": ("extend {work}/clouds", B32, 4),
    "uf-fgtg": ("rewrite cat --like {work}/pairs.csv", "", 8),
    "galip": ("generate cat --like {work}/pairs.csv", B32, 4),
}
"""System -> words of the command, the open_clip architecture of its published tower, and items in a step here."""
WITHOUT = {
    "llm2clip": "needs a language model, and no weights of one are at hand",
    "sam-clip": "needs a SAM, and no weights of one are at hand",
    "cut-and-paste": "optimises nothing of its own", "mosaic": "optimises one picture, not a model",
    "deltaedit": "needs a StyleGAN2 of faces", "clipinverter": "needs a StyleGAN2 of faces and its inverter",
    "astrom3": "needs spectra beside the curves", "patch-memory": "trains nothing",
    **dict.fromkeys(
        ("coop", "mocoop", "nola", "glsim", "dn-cbm", "clippings", "hyp-oc"),
        "is run whole on boards and in its proof",
    ),
}  # fmt: skip
"""System with a published training -> why no step of it is taken here."""
STEP = re.compile(r"(\d+) steps of (\d+) items on (\S+): ([\d.e+-]+) seconds per step, ([\d.]+) GiB")
PLANNED = re.compile(r"([\d,]+) steps take")


def command(slug: str) -> str:
    """Return the words of a trial, with {data} and {work} for folders."""
    words, tower, batch = TRIALS[slug]
    verb, published = words.split()[0], catalog.find(slug).card.published
    assert published is not None
    command_line = [words, f"-m {slug}", "--dry-run", "--cache {work}/cache"]
    if tower:
        command_line.append(f"-b openclip:{tower}?weights=random")
    if verb in ("pretrain", "finetune"):
        kind = {"finetune": Finetune, "pretrain": Pretrain}[verb]
        flags = {n: v for n, v in published.training.items() if n not in ("train-batch", "precision")}
        command_line += [f"{flag_of(kind, n.replace('-', '_'))} {_plain(v)}" for n, v in flags.items()]
        command_line.append(f"--train-batch {batch} --workers 0")
        if published.settings:
            command_line.append("--set published")
    else:
        command_line.append(f"--set published --set batch={batch}")
    return " ".join(command_line)


def _plain(value: Any) -> str:
    return (
        ",".join(map(_plain, value))
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _both(row: dict[str, str]) -> list[str]:
    """Return the shortest and the longest caption of a photo."""
    captions = sorted((row[f"caption_{k}"] for k in range(5)), key=len)
    return [captions[0], captions[-1]]


def prepare(data: Path, work: Path) -> None:
    """Write what trials need beside the data sets: rewritten captions, tiles, folders of clips and of clouds."""
    with open(data / "flickr8k_small" / "captions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:ROWS]
    lines = [["path", "split", "user", "caption_0", "caption_1"]]
    for i, row in enumerate(rows):
        shutil.copy(data / "flickr8k_small" / row["path"], work / f"{i}.jpg")
        lines.append([f"{i}.jpg", "train" if i % 8 else "test", ("Anna", "Ben")[i % 2], *_both(row)])
    with open(work / "pairs.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    _write_taught(rows, work / "taught.jsonl")
    _write_tiles(data, work / "tiles")
    pool = {captions: [row[f"caption_{k}"] for k in range(1, 5)] for row in rows for captions in _both(row)}
    (work / "rewrites.json").write_text(json.dumps(pool), encoding="utf-8")
    for i, photo in enumerate(sorted((data / "demo_photos").glob("*.jpg"))):
        for split in ("train", "test"):
            folder = work / "classes" / split / f"kind {i % 3}"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, folder / photo.name)
    with open(data / "short_videos" / "clips.csv", encoding="utf-8") as file:
        for row in list(csv.DictReader(file)):
            folder = work / "clips" / "train" / row["action"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / Path(row["clip"]).name).symlink_to(data / "short_videos" / row["clip"])
    with (
        open(data / "furniture3d" / "objects.csv", encoding="utf-8") as file,
        np.load(data / "furniture3d" / "points.npz") as points,
    ):
        clouds = points["classed"]
        for row in [r for r in csv.DictReader(file) if r["array"] == "points.npz:classed" and r["split"] == "train"]:
            folder = work / "clouds" / "train" / row["class_name"]
            folder.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{row['row']}.npy", clouds[int(row["row"])][:, :3])


def _write_tiles(data: Path, folder: Path) -> None:
    """Write a photo of the train split and three of the test split: all are embedded before the first step."""
    with open(data / "magnetic_tile" / "labels.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for split, anomaly, count in (("train", "0", 1), ("test", "0", 1), ("test", "1", 2)):
        chosen = [row for row in rows if (row["split"], row["is_anomaly"]) == (split, anomaly)][:count]
        for name in [name for row in chosen for name in (row["path"], row["mask"]) if name]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / "magnetic_tile" / name, folder / name)


def _write_taught(rows: list[dict[str, str]], file: Path) -> None:
    """Write rows with two captions, two synthetic ones, and random vectors of two teachers of 768 numbers each."""
    draws = np.random.default_rng(0)
    with open(file, "w", encoding="utf-8") as lines:
        for i, row in enumerate(rows):
            vectors = [[round(float(x), 3) for x in draws.normal(size=1536)] for _ in range(5)]
            texts = {"captions": _both(row), "synthetic": [row["caption_1"], row["caption_2"]]}
            facts = {"path": f"{i}.jpg", "split": "train" if i % 8 else "test", **texts}
            lines.write(json.dumps({**facts, "teacher_image": vectors[0], "teacher_text": vectors[1:]}) + "\n")


def trial(slug: str, data: Path, work: Path) -> dict[str, Any]:
    """Return what a trial measured, or why it did not."""
    command_line = command(slug)
    words = command_line.format(data=data, work=work).split()
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "diptych.cli", *words],
            capture_output=True, text=True, timeout=PATIENCE, env=environment, cwd=work, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        busy = f"at a load of {os.getloadavg()[0]:.0f}"
        return {"command": command_line, "why": f"three steps take longer than {PATIENCE // 60} minutes {busy}"}
    step, planned = STEP.search(done.stdout), PLANNED.search(done.stdout)
    if step is None or planned is None:
        last = [line for line in done.stderr.splitlines() if line.strip()]
        return {"command": command_line, "why": last[-1] if last else f"ended with {done.returncode}"}
    taken, batch, device, seconds, memory = step.groups()
    return {
        "command": command_line, "steps": int(taken), "batch": int(batch), "device": device, "seconds": float(seconds),
        "memory_gib": float(memory), "planned": int(planned[1].replace(",", "")),
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main(slugs: list[str]) -> None:
    """Run the trials, and keep those of other systems."""
    data = Path(os.environ["DIPTYCH_DATA"]).resolve()
    written: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"trials": {}}
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        prepare(data, Path(folder))
        for slug in slugs or list(TRIALS):
            written["trials"][slug] = trial(slug, data, Path(folder))
            print(slug, written["trials"][slug], flush=True)  # noqa: T201
            written["without"] = WITHOUT
            written["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
            FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
