"""The place of each parameter in its tower, by name: for rates that differ by layer, and for towers locked in part."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Set

from torch import nn

from diptych.core import MissingHook, UsageError
from diptych.core.train import BASE, of_image

_BLOCK = re.compile(r"(?:^|\.)(?:resblocks|blocks|layers?|stages|h)\.(\d+)(?:\.(?:blocks|layers?)?\.?(\d+))?(?=\.)")
_STEM = re.compile(
    r"(?:^|\.)(?:conv1|bn1|conv_stem|stem|patch_embed|patch_embedding|embeddings?|class_embedding|cls_token|"
    r"positional_embedding|pos_embed|position_embedding|token_embedding|tok_embeddings|cls_emb|wte|wpe|ln_pre|norm_pre|"
    r"pre_layrnorm)(?:\.|$)|^visual\.(?:conv|bn)[23]\."
)
_RESIDUAL = re.compile(r"(?:^|\.)layer(\d+)\.(\d+)\.")
"""Blocks of ResNets, which are named by their stage."""
_AFTER = re.compile(r"(?:^|\.)(?:attn_?pool|text_decoder)\.")
"""Parts behind the blocks that have positions, layers or blocks of their own."""


def tower_of(name: str) -> str:
    """Return "image" or "text", the tower of a parameter of a space's module, or "" for scales and biases of the whole.

    Example:
        >>> tower_of("visual.conv1.weight"), tower_of("transformer.resblocks.0.ln_1.bias"), tower_of("logit_scale")
        ('image', 'text', '')
    """
    if name.rsplit(".", 1)[-1] in ("logit_scale", "logit_bias"):
        return ""
    return "image" if of_image(name) else "text"


def depths(names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return name -> (tower, distance from the end of the tower), in blocks.

    What follows the blocks (a last norm, an attention pool, a projection, the decoder of a CoCa) has 0, the last block
    1, the first of n blocks n, and the stem (patches, positions, word embeddings) n + 1. Blocks of stages are counted
    through.

    Args:
        names: of all parameters of a space's module. Scales and biases of the whole are left out, and what is built
            round a model whose names begin with "base.".

    Example:
        >>> names = ("visual.conv1.weight", "visual.blocks.0.w", "visual.blocks.1.w", "visual.proj", "logit_scale")
        >>> [d for _, d in depths(names).values()]
        [3, 2, 1, 0]
    """
    listed = list(names)
    inside = [n for n in listed if n.startswith(BASE)] or listed
    known = [(n, tower_of(n)) for n in inside]
    blocks: dict[str, set[tuple[int, int]]] = {"image": set(), "text": set()}
    for name, tower in known:
        if tower and (block := _block(name)) is not None:
            blocks[tower].add(block)
    order: Mapping[str, list[tuple[int, int]]] = {tower: sorted(places) for tower, places in blocks.items()}
    return {name: (tower, _depth(name, order[tower])) for name, tower in known if tower}


def last_layers(names: Iterable[str], tower: str, count: int) -> Set[str]:
    """Return the parameters of the last ``count`` layers of a tower; 1 is what follows its blocks."""
    return {n for n, (side, depth) in depths(names).items() if side == tower and depth < count}


def is_block(name: str) -> bool:
    """Return whether a module of this name is a block of a tower.

    Example:
        >>> is_block("visual.transformer.resblocks.0"), is_block("visual.transformer.resblocks.0.attn")
        (True, False)
    """
    match = _BLOCK.search(name + ".")
    return match is not None and match.end() == len(name)


def _block(name: str) -> tuple[int, int] | None:
    match, stem = None if _AFTER.search(name) else _BLOCK.search(name) or _RESIDUAL.search(name), _STEM.search(name)
    if match is None or (stem is not None and stem.start() < match.start()):  # a stem of stages, as ViTamin's
        return None
    return int(match[1]), int(match[2] or 0)


def _depth(name: str, blocks: list[tuple[int, int]]) -> int:
    block = _block(name)
    if block is not None:
        return len(blocks) - blocks.index(block)
    return len(blocks) + 1 if _STEM.search(name) and not _AFTER.search(name) else 0


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
