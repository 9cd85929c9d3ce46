from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from diptych.core import ClassNames, DiptychError, Kit
from diptych.features.portable import load, save
from diptych.methods.classify.coop import FittedCoOp
from diptych.testing.harm import harms
from tests.support.backbone import SmallBackbone

KIT = Kit({"main": SmallBackbone()})


def test_each_harm_is_refused(tmp_path: Path) -> None:
    fitted = FittedCoOp(ClassNames(("a", "b")), SmallBackbone(), {"context": torch.zeros(1, 4)}, "end")
    save(fitted, tmp_path / "whole")
    found = harms(tmp_path / "whole")
    assert len(found) == 6
    for number, harm in enumerate(found.values()):
        shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        harm(tmp_path / str(number))
        with pytest.raises(DiptychError):
            load(tmp_path / str(number), KIT)
    assert load(tmp_path / "whole", KIT).classes == fitted.classes
