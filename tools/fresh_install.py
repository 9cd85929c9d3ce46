"""Install a wheel into a new virtual environment and use it there: ``python tools/fresh_install.py dist/NAME.whl``.

The wheel must hold the package alone, with the cards and their index. Nothing but the wheel is named to pip, so a
dependency that pyproject.toml forgot is missing here. ``doctor``, ``demo`` and ``encode`` then run in a folder outside
the checkout, with an empty home and cache, and ``encode`` must have used ONNX Runtime: a base install that cannot
export its encoders falls back to torch silently.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

COMMANDS = (
    ("doctor",),
    ("demo", "--shots", "1", "--seeds", "1", "--out", "demo"),
    ("encode", "demo:photos", "--out", "vectors"),
    ("index", "demo:photos", "--out", "photo-index"),
    ("search", "photo-index", "a cat"),
)


def strangers(names: list[str]) -> list[str]:
    """Return the entries of a wheel that belong neither to the package nor to its metadata."""
    ours = ("diptych/", "diptych-")
    return [name for name in names if not name.startswith(ours) or "/tests/" in name or name.endswith(".pyc")]


def absent(names: list[str]) -> list[str]:
    """Return what a wheel must hold and lacks: the index of cards, and the card beside each method."""
    methods = [name for name in names if re.fullmatch(r"diptych/methods/\w+/(?!_)\w+\.py", name)]
    wanted = ["diptych/catalog.json", *(f"{name.removesuffix('.py')}.toml" for name in methods)]
    return sorted(set(wanted) - set(names))


def wrong_engine(report: dict[str, object]) -> str | None:
    """Return what is wrong with the engine that ``encode.json`` names; None where it is ONNX Runtime."""
    engine = str(report.get("engine"))
    if engine.startswith("onnxruntime "):
        return None
    return f"encode used {engine}, not onnxruntime: the base install cannot export or run the image encoder."


def run(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a command in a folder; raises CalledProcessError where it fails."""
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, check=True)
    sys.stderr.write(f"{time.perf_counter() - began:.0f} s: {' '.join([Path(words[0]).name, *words[1:]])}\n")


def main(arguments: list[str]) -> int:
    """Check the wheel and use it; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python tools/fresh_install.py WHEEL\n")
        return 2
    wheel = Path(arguments[0]).resolve()
    with zipfile.ZipFile(wheel) as archive:
        wrong, lacking = strangers(archive.namelist()), absent(archive.namelist())
    if wrong:
        sys.stderr.write(f"{wheel.name} holds {len(wrong)} files beside the package, such as {wrong[0]}.\n")
        return 1
    if lacking:
        sys.stderr.write(f"{wheel.name} lacks {len(lacking)} files, such as {lacking[0]}.\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        (folder / "work").mkdir()
        venv.create(folder / "venv", with_pip=True)
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "DIPTYCH_", "HF_"))}
        run(
            [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)],
            folder,
            bare,
        )
        alone = {**bare, "HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
        alone.pop("XDG_CACHE_HOME", None)
        for words in COMMANDS:
            run([str(folder / "venv/bin/diptych"), *words], folder / "work", alone)
        wrong_one = wrong_engine(json.loads((folder / "work/vectors/encode.json").read_text(encoding="utf-8")))
        if wrong_one is not None:
            sys.stderr.write(wrong_one + "\n")
        return int(wrong_one is not None)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
