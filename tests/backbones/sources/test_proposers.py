from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers as hf
from PIL import Image

from diptych.backbones.sources.proposers import load_promptable, load_proposer
from diptych.core import DataError, MaskProposer, NotAvailable, Prompts, UsageError
from tests.support.mask_models import mask2former, quarters
from tests.support.sam import small_sam


def test_mask_models_load_by_name(tmp_path: Path) -> None:
    small_sam().save_pretrained(tmp_path / "sam")
    mask2former().save_pretrained(tmp_path / "m2f")
    hf.Mask2FormerImageProcessor(size={"shortest_edge": 40, "longest_edge": 64}).save_pretrained(tmp_path / "m2f")
    sam = load_promptable(str(tmp_path / "sam"))
    assert sam.fingerprint == load_promptable(f"local:{tmp_path / 'sam'}").fingerprint
    for name in ("merged-cells", "ranked-cells", "merged-cells:tiny", f"{tmp_path / 'sam'}", f"{tmp_path / 'm2f'}"):
        assert isinstance(load_proposer(name), MaskProposer)
    assert len(load_proposer(f"{tmp_path / 'm2f'}").propose(quarters())) == 7
    with pytest.raises(UsageError, match="'mask2former', which takes no points"):
        load_promptable(f"{tmp_path / 'm2f'}")
    with pytest.raises(UsageError, match="no mask model"):
        load_proposer("lite")
    with pytest.raises(UsageError, match="no folder"):
        load_proposer(f"{tmp_path / 'none'}")
    with pytest.raises(NotAvailable):
        load_promptable("hf:facebook/sam-vit-base", offline=True)


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
