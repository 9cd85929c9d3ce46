from __future__ import annotations

import pytest

from diptych.core import AuditData, ClassNames, DataError, Kit, ModelRecord, Probe, Subject, Table, Texts
from tests.support.backbone import SmallBackbone

TABLE = Table(Texts(("a", "b")))


def test_tables_are_found_by_role_in_their_order() -> None:
    data = AuditData({"own": Probe(TABLE), "dark": Probe(TABLE, "shift"), "bright": Probe(TABLE, "shift")})
    assert data.one()[0] == "own"
    assert list(data.of("shift")) == ["dark", "bright"]
    assert data.of("ood") == {}
    for role, count in (("shift", 2), ("ood", 0)):
        with pytest.raises(DataError, match=f"'{role}', got {count}"):
            data.one(role)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no class names"):
        data.one()[1].named()
    assert AuditData.single(TABLE, ClassNames(("x", "y"))).one()[1].named().names == ("x", "y")


def test_a_subject_is_a_kit_with_a_record() -> None:
    backbone, record = SmallBackbone(), ModelRecord("clip", "laion2b", 2_000_000_000)
    for given in (backbone, Kit.of(backbone), {"main": backbone}):
        assert Subject.of(given).kit.parts["main"] is backbone
        assert Subject.of(given).record == ModelRecord()
    known = Subject(Kit.of(backbone), record)
    assert Subject.of(known) is known
