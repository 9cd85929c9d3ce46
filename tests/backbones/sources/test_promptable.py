from __future__ import annotations

from pathlib import Path

import pytest

from diptych.backbones.sources.promptable import load_promptable
from diptych.core.errors import DataError, UsageError
from tests.support.sam import small_sam


def test_a_saved_sam_loads_with_its_fingerprint(tmp_path: Path) -> None:
    small_sam(3).save_pretrained(tmp_path / "sam")
    first, again = (load_promptable(str(tmp_path / "sam")) for _ in range(2))
    assert first.fingerprint == again.fingerprint


def test_damaged_and_foreign_folders_are_named(tmp_path: Path) -> None:
    small_sam().save_pretrained(tmp_path / "sam")
    (tmp_path / "sam" / "model.safetensors").unlink()
    with pytest.raises(DataError, match="SamModel"):
        load_promptable(str(tmp_path / "sam"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"config\.json"):
        load_promptable(str(tmp_path / "none"))
