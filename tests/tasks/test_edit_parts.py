from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.backbones.generators.factors import FactorGenerator
from diptych.backbones.generators.stylegan2 import StyleGAN2
from diptych.core import Inverter, Needs, Segmenter, UsageError
from diptych.methods.edit.deltaedit import DeltaEdit
from diptych.tasks.edit_parts import chosen_editor, kit_for
from tests.support.backbone import SmallBackbone

CARD = DeltaEdit.card


def test_only_what_a_card_names_is_loaded() -> None:
    backbone = SmallBackbone()
    drawn, found = kit_for(CARD, backbone), kit_for(CARD, backbone, photos=True)
    assert isinstance(drawn.parts["generator"], FactorGenerator)
    assert set(drawn.parts) == {"main", "generator"}
    assert isinstance(found.parts["generator"], StyleGAN2)
    assert isinstance(found.parts["inverter"], Inverter)
    bare = replace(CARD, needs=Needs())
    assert set(kit_for(bare, backbone, photos=True).parts) == {"main"}
    parted = replace(CARD, needs=Needs(parts=("Segmenter",)))
    assert isinstance(kit_for(parted, backbone).parts["segmenter"], Segmenter)


def test_an_editor_is_chosen_by_what_there_is() -> None:
    assert chosen_editor(None, "drawn").card.slug == "deltaedit"
    assert chosen_editor(None, "pictures").card.slug == "deltaedit"
    assert chosen_editor("deltaedit", "clips") is DeltaEdit
    with pytest.raises(UsageError, match="gda is no editor"):
        chosen_editor("gda", "drawn")
