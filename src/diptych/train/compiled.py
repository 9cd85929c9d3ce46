"""Towers whose blocks torch compiles for a training."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator

from torch import nn

from diptych.core import MissingHook, UsageError
from diptych.train.layers import is_block


@contextlib.contextmanager
def compiled(module: nn.Module | None) -> Iterator[None]:
    """Run the blocks of all towers of a module compiled by torch's inductor.

    The blocks of a tower are alike, and are compiled once for all of them. Values differ from those of eager mode by
    rounding, and dropout draws other numbers. Copies of the module are not compiled.

    Args:
        module: with blocks that are called as modules; None: nothing is compiled.

    Raises:
        MissingHook: it has no blocks.
        UsageError: there is no C++ compiler, which torch needs for a CPU.
    """
    if module is None:
        yield
        return
    blocks = [m for name, m in module.named_modules() if is_block(name)]
    if not blocks:
        raise MissingHook("What is trained has no towers of blocks to compile: leave out the compilation.")
    on_cpu = all(p.device.type == "cpu" for p in module.parameters())
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if on_cpu and sys.platform != "win32" and shutil.which(compiler) is None:
        raise UsageError(
            f"Compilation for a CPU needs a C++ compiler, and there is no {compiler}: install one, name it in CXX, or "
            f"leave out the compilation."
        )
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None  # as a module begins; torch has no other way back
