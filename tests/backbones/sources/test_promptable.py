from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from diptych.backbones.sources.promptable import load_promptable
from diptych.core import DataError, Prompts, UsageError
from tests.support.sam import small_sam


def test_a_saved_sam_loads_with_its_fingerprint(tmp_path: Path) -> None:
    small_sam(3).save_pretrained(tmp_path / "sam")
    first, again = (load_promptable(str(tmp_path / "sam")) for _ in range(2))
    assert first.fingerprint == again.fingerprint


def test_a_sam_that_is_stored_in_half_precision_draws_in_single(tmp_path: Path) -> None:
    small_sam(3).half().save_pretrained(tmp_path / "half")
    masks = load_promptable(str(tmp_path / "half"))
    seen = masks.see(Image.new("RGB", (40, 30)))
    assert masks.ask(seen, Prompts(boxes=torch.tensor([[2.0, 3, 20, 25]]))).logits.dtype == torch.float32


def test_damaged_and_foreign_folders_are_named(tmp_path: Path) -> None:
    small_sam().save_pretrained(tmp_path / "sam")
    (tmp_path / "sam" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="SamModel"):
        load_promptable(str(tmp_path / "sam"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"config\.json"):
        load_promptable(str(tmp_path / "none"))
