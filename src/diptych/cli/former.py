"""Names that flags had in the last version: they work for one more, with a remark that names the new one."""

from __future__ import annotations

import os
from typing import Any

from diptych.cli.console import say

FORMER = {
    "--accumulate": "--accum-freq",
    "--also": "--eval-data",
    "--clip": "--grad-clip-norm",
    "--decay": "--weight-decay",
    "--rate": "--false-alarm-rate",
    "--reasons": "--explain",
    "--recompute": "--grad-checkpointing",
    "--sets": "--coverage",
}
"""Flag of the last version -> its name now, in commands that have that and no flag of the former name."""


def renamed(command: Any, ctx: Any, args: list[str]) -> list[str]:
    """Return the words with flags by the names that they have now, and take former variables as defaults."""
    flags = {name: flag for flag in command.params for name in flag.opts}
    names = {old: new for old, new in FORMER.items() if new in flags and old not in flags}
    if not names:
        return args
    end = args.index("--") if "--" in args else len(args)
    words = list(args)
    for i, word in enumerate(words[:end]):
        old, equals, value = word.partition("=")
        if old in names:
            words[i] = f"{names[old]}{equals}{value}"
            say(f"{old} is now {names[old]}: the old name works in this version alone.")
    for old, new in names.items():
        variable = "DIPTYCH_" + old.removeprefix("--").replace("-", "_").upper()
        if variable in os.environ:
            ctx.default_map = {**(ctx.default_map or {}), flags[new].name: os.environ[variable]}
            say(f"{variable} is now {flags[new].envvar}: the old name works in this version alone.")
    return words
