"""A board in a process of its own, which is killed when a number of its rows are kept: WORDS of the command line, after
that number.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from diptych.evaluation import kept
from tests.support.colours import ColourBackbone


def main(count: int, words: list[str]) -> None:
    import diptych.backbones.sources.load as source
    from diptych.cli.main import app

    source.load = lambda name="lite", **more: ColourBackbone(name=name)
    save = kept.write_json

    def save_and_die(path: Path, row: Any, *, overwrite: bool) -> None:
        save(path, row, overwrite=overwrite)
        if len(list(path.parent.glob("*.json"))) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    kept.write_json = save_and_die
    app(words)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
