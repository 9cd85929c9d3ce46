from __future__ import annotations

from types import SimpleNamespace

import pytest

from diptych.core import UsageError
from diptych.methods.classify.gda import GDA
from diptych.methods.detect.winclip_style import WinCLIPStyle
from diptych.methods.segment.fc_clip import FCCLIP
from diptych.verbs import reads


def test_cards_and_settings_say_what_a_system_reads() -> None:
    assert reads.needs("train")(FCCLIP)
    assert not reads.needs("unlabelled")(FCCLIP)
    assert reads.uses("train")(GDA)
    assert reads.has("thing")(WinCLIPStyle)
    assert not reads.has("thing")(FCCLIP)


def test_an_argument_that_is_not_read_is_refused_where_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (SimpleNamespace(card=SimpleNamespace(slug=slug, verb="edit"), reads=slug == "b") for slug in "ab")
    monkeypatch.setattr(reads, "_systems", lambda verb: [a, b])
    readers = {"mask": lambda system: system.reads}
    reads.refuse_unread(a, readers, ())
    with pytest.raises(UsageError, match=r"^a does not read mask, but b does: leave it out, or choose b with"):
        reads.refuse_unread(a, readers, ("mask",))
