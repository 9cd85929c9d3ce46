from __future__ import annotations

import pytest

from diptych.core import Auditor, ClassNames, Column, DataError, Table
from diptych.tasks.audit.association import audit_association
from diptych.tasks.defaults import default
from tests.methods.audit.test_concept_association_bias import OBJECTS, Bag, fruit


def test_any_column_of_groups_may_hold_the_attribute() -> None:
    own = fruit()
    table = Table(own.items, {"label": own.columns["label"], "group": own.columns["attribute"]})
    (finding,), failed = audit_association(table, ClassNames(OBJECTS), [Bag(1.0)])
    assert (finding.value, failed) == (1.0, ())
    asking = default("audit association", Auditor, template="{object} {value}")
    (asked,), _ = audit_association(table, ClassNames(OBJECTS), [Bag(1.0)], method=asking)
    assert asked.value == 1.0
    plain = Table(own.items, {"label": own.columns["label"], "hue": Column("group", ("a",) * 30)})
    with pytest.raises(DataError, match="no column 'attribute'"):
        audit_association(plain, ClassNames(OBJECTS), [Bag(1.0)])
