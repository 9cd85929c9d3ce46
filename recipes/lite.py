"""The recipe of ``lite``: train its heads, and judge them on photos that no training saw.

python -m recipes.lite train --counts cntlist.rev --work WORK      writes assets/lite/heads.safetensors
python -m recipes.lite judge --data DATA --out results/lite-heads.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from diptych.backbones.lite_files import HEADS
from diptych.tasks.record import now, versions
from recipes.lite_heads import train
from recipes.lite_judge import judge


def main(words: Sequence[str] | None = None) -> None:
    """Run one step of the recipe."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("train", "judge"))
    parser.add_argument("--counts", type=Path, help="WordNet's cntlist.rev")
    parser.add_argument("--work", type=Path, help="folder for MiniLM's vectors of all nouns")
    parser.add_argument("--data", type=Path, help="folder of the development sets")
    parser.add_argument("--out", type=Path, help="heads, or result")
    options = parser.parse_args(words)
    training = options.step == "train"
    result = train(options.counts, options.work, options.out or HEADS) if training else judge(options.data)
    shown = json.dumps(
        {**result, "command": f"python -m recipes.lite {options.step}", "date": now(), "versions": versions()}, indent=1
    )
    if options.step == "judge" and options.out:
        options.out.write_text(shown + "\n", encoding="utf-8")
    sys.stdout.write(shown + "\n")


if __name__ == "__main__":
    main()
