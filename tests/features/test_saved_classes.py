"""Short names of classes; that each of a system has one is in ``tests/contract/test_saved_names.py``."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from diptych.core import ClassNames, DataError, UsageError
from diptych.features import saved_classes
from diptych.features.saved_classes import class_named, short_name
from diptych.methods.classify.gda import FittedGDA


def test_names_of_the_table_are_frozen_dataclasses_where_it_says() -> None:
    for name, module in saved_classes.SHARED.items():
        kind = getattr(importlib.import_module(module), name)
        assert (kind.__module__, class_named(name, Path())) == (module, kind)


def test_a_class_of_a_system_is_named_by_its_slug() -> None:
    assert (short_name(FittedGDA), short_name(ClassNames)) == ("gda:FittedGDA", "ClassNames")
    with pytest.raises(UsageError, match=r"Path of pathlib cannot be saved"):
        short_name(Path)


@pytest.mark.parametrize(
    "name", ["os:system", "gda:Tensor", "gda:GDA.fit", "Tensor", "../gda:FittedGDA", "", "pathlib.Path"]
)
def test_a_name_leads_to_fitted_classes_alone(name: str) -> None:
    with pytest.raises(DataError, match="is no fitted class of diptych"):
        class_named(name, Path("head"))


@pytest.mark.parametrize("name", sorted(saved_classes.RETIRED))
def test_a_class_of_an_earlier_version_says_how_to_write_it_anew(name: str) -> None:
    with pytest.raises(UsageError, match=r"^head was written by an earlier version, .*: run 'diptych extend'"):
        class_named(name, Path("head"))
