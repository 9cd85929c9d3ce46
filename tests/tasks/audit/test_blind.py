from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import Auditor, DataError, Table
from diptych.data.formats.mmvp import IMAGES, PATTERNS, read_mmvp_vlm
from diptych.tasks.audit.blind import audit_blind
from diptych.tasks.defaults import default
from tests.data.formats.test_mmvp import mmvp_folder
from tests.support.backbone import SmallBackbone
from tests.support.image_files import truncated
from tests.support.pictures import Pictures, picture


def test_pictures_are_mined_with_a_second_encoder() -> None:
    table = Table(Pictures(tuple(picture(i % 4, i) for i in range(30))))
    method = default("audit blind", Auditor, top=0.3, bottom=0.5)
    (share,), failed = audit_blind(table, SmallBackbone(), vision=SmallBackbone(seed=3).image, method=method)
    assert (share.measure, share.count, failed) == ("blind_share", 30, ())
    with pytest.raises(DataError, match="part 'vision'"):
        audit_blind(table, SmallBackbone())


def test_a_broken_picture_takes_its_pair_along(tmp_path: Path) -> None:
    folder = mmvp_folder(tmp_path, 12)
    truncated(folder / IMAGES / PATTERNS[0] / "1.jpg")
    findings, failed = audit_blind(read_mmvp_vlm(folder), SmallBackbone(), name="vlm")
    assert findings[0].count == 11
    assert findings[0].about == "vlm"
    assert [Path(e.name).name for e in failed] == ["1.jpg"]
