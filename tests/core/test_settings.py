from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import pytest

from diptych import catalog
from diptych.core import UsageError
from diptych.core.settings import by_system, parted, settings_of, varied, with_settings
from diptych.methods.classify.gda import GDA
from diptych.methods.classify.linear_probe import LinearProbe
from diptych.methods.classify.tip_adapter_f import TipAdapterF
from diptych.methods.segment.fc_clip import FCCLIP


@dataclass(frozen=True)
class Layout:
    queries: int = 100


@dataclass(frozen=True)
class System:
    epochs: int = 20
    rate: float | None = None
    form: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    flag: bool = False
    depth: Literal[1, 2] = 2
    mode: Literal[True, "auto"] = "auto"
    layout: Layout = field(default_factory=Layout)


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"epochs": "100"}, "epochs", 100),
        ({"epochs": 100.0}, "epochs", 100),
        ({"rate": "1e-3"}, "rate", 1e-3),
        ({"rate": "none"}, "rate", None),
        ({"form": "b"}, "form", "b"),
        ({"sizes": "3, 4,5"}, "sizes", (3, 4, 5)),
        ({"sizes": [3, 4]}, "sizes", (3, 4)),
        ({"flag": "true"}, "flag", True),
        ({"depth": "1"}, "depth", 1),
        ({"depth": 1.0}, "depth", 1),
        ({"mode": True}, "mode", True),
        ({"mode": "True"}, "mode", True),
        ({"layout.queries": "7"}, "layout", Layout(7)),
    ],
)
def test_texts_and_values_become_what_the_annotation_asks_for(
    settings: dict[str, Any], name: str, value: object
) -> None:
    assert getattr(with_settings(System(), settings), name) == value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epoch": "1"}, "did you mean 'epochs'"),
        ({"epochs": "many"}, "epochs is of the type int, not 'many'"),
        ({"epochs": 1.5}, "of the type int, not 1.5"),
        ({"epochs": True}, "of the type int, not True"),
        ({"form": "c"}, "form is one of 'a', 'b', not 'c'"),
        ({"depth": True}, "depth is one of 1, 2, not True"),
        ({"mode": 1}, "mode is one of True, 'auto', not 1"),
        ({"flag": "maybe"}, "of the type bool"),
        ({"epochs.x": 1}, "epochs has no parts"),
        ({"layout.qeries": 1}, "Layout has no setting 'qeries'"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        with_settings(System(), settings)


def test_a_system_checks_its_own_ranges() -> None:
    assert with_settings(TipAdapterF(), {"epochs": "100"}).epochs == 100
    with pytest.raises(UsageError, match="epochs must be"):
        with_settings(TipAdapterF(), {"epochs": "-1"})


def test_every_setting_of_every_system_is_explained() -> None:
    from importlib.util import find_spec
    from pathlib import Path

    for card in catalog.cards():
        spec = find_spec(card["module"])
        assert spec is not None
        settings = settings_of(Path(str(spec.origin)).read_text(encoding="utf-8"), card["class"])
        names = {f.name for f in fields(catalog.find(card["slug"])) if f.init}  # type: ignore[arg-type]
        assert {s.name for s in settings} == names, card["slug"]
        assert not [s.name for s in settings if not s.meaning], card["slug"]


def test_a_row_of_a_board_carries_its_settings() -> None:
    name = varied("small", {"epochs": 100, "sizes": "1,2"})
    assert parted(name) == ("small", {"epochs": "100", "sizes": "1,2"})
    assert parted("no aggregation") == ("no aggregation", {})
    assert by_system(["tip-adapter-f.epochs=100", "tip-adapter-f.rate=0.1"]) == {
        "tip-adapter-f": {"epochs": "100", "rate": "0.1"}
    }
    row = catalog.row(TipAdapterF, catalog.set_rows({"tip-adapter-f": {"epochs": "100"}}, "tip-adapter-f", ""))
    assert row.epochs == 100
    for wrong in ("small[", "small[x]", "[=3]"):
        with pytest.raises(UsageError, match="Settings of a row"):
            parted(wrong)
    with pytest.raises(UsageError, match=r"takes SYSTEM\.NAME=VALUE"):
        by_system(["epochs=3"])
    with pytest.raises(UsageError, match="the nearest names are tip-adapter-f"):
        catalog.set_rows({"tip-adaptor-f": {}}, "gda", "")


def test_published_stands_for_the_authors_settings_and_others_are_laid_over_them() -> None:
    published = with_settings(FCCLIP(), {"published": True})
    assert (published.side, published.steps, published.layout.queries) == (800, 368_750, 250)
    assert with_settings(FCCLIP(), {"steps": 9, "published": "true"}) == replace(published, steps=9)
    assert with_settings(FCCLIP(), {"published": "false"}) == FCCLIP()
    with pytest.raises(UsageError, match="The card of gda has no published settings"):
        with_settings(GDA(), {"published": True})


def test_the_former_name_of_the_penalty_of_a_probe_is_read() -> None:
    assert with_settings(LinearProbe(), {"c": "2"}) == with_settings(LinearProbe(), {"C": 2.0}) == LinearProbe(C=2.0)
