"""Systems by class name: those of the catalog, with signature and docstring of their own class."""

from __future__ import annotations

import inspect

import pytest

from diptych import catalog, systems


def test_every_system_is_there_by_its_class_name() -> None:
    assert dir(systems) == sorted(card["class"] for card in catalog.cards())
    for card in catalog.cards():
        found, kind = getattr(systems, card["class"]), catalog.find(card["slug"])
        assert inspect.signature(found) == inspect.signature(kind)
        assert inspect.getdoc(found) == inspect.getdoc(kind)
        assert found.card is kind.card


def test_parameters_reach_the_method() -> None:
    assert systems.GDA(alpha=2.0).method == catalog.find("gda")(alpha=2.0)
    assert repr(systems.GDA(alpha=2.0)).startswith("GDA(alpha=2.0")
    with pytest.raises(TypeError, match="alhpa"):
        systems.GDA(alhpa=2.0)
    for name, near in (("Gda", "GDA"), ("tip_adapter_f", "TipAdapterF"), ("zero_shot", "ZeroShot")):
        with pytest.raises(AttributeError, match=f"no system '{name}': the nearest is {near}, and dir"):
            getattr(systems, name)
