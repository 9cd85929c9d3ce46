from __future__ import annotations

import pytest

import diptych
from diptych.core import DataError, UsageError
from tests.methods.audit.test_concept_association_bias import OBJECTS, Bag, fruit


def test_an_open_table_is_asked_for_any_column_of_its_groups() -> None:
    table = fruit(24)
    found = diptych.audit.association(table, Bag(1.0), attribute="attribute", names=OBJECTS)
    assert (len(found), found[0].value) == (1, 1.0)
    assert found.labels[0].startswith("Beside another object it names the right value in 0 %")
    few = diptych.audit.association(table, Bag(1.0), attribute="attribute", names=OBJECTS, settings={"most": 20})
    assert few[0].count == 20
    with pytest.raises(DataError, match="no column 'size', only label, attribute: give another attribute="):
        diptych.audit.association(table, Bag(1.0), attribute="size", names=OBJECTS)
    with pytest.raises(UsageError, match=r"template must hold one '\{object\}' and one '\{value\}'"):
        diptych.audit.association(table, Bag(1.0), attribute="attribute", template="a {value} thing")


def test_columns_of_what_is_no_file_are_refused() -> None:
    with pytest.raises(UsageError, match="label= names a column of a file, and this is a Table: give a path"):
        diptych.audit.association(fruit(6), Bag(1.0), attribute="attribute", label="kind")
