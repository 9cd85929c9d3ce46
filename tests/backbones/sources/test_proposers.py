from __future__ import annotations

from pathlib import Path

import pytest
import transformers as hf

from diptych.backbones.sources.promptable import load_promptable
from diptych.backbones.sources.proposers import load_proposer
from diptych.core import MaskProposer, NotAvailable, UsageError
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
