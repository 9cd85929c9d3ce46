from __future__ import annotations

from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def test_models_are_listed_and_described(diptych: Cli) -> None:
    got = diptych("models", "list", "vit-h-14/laion", "--json")
    assert got.data == ["ViT-H-14/laion2b_s32b_b79k"]
    assert diptych("models", "list").out.startswith("lite\nlite:512\nlite:views\nlite:2026-11\ntiny\n")
    got = diptych("models", "info", "colours", "--json")
    assert got.data["hooks"] == {"tower:image": False, "tower:text": False, "dense": False}
    assert got.data["encoders"].keys() == {"image", "text"}
    assert "pixels size" in diptych("models", "info", "colours").out
