"""The steps of ``curate``."""

from __future__ import annotations

from diptych.verbs.curate.apply import CurateApply
from diptych.verbs.curate.head import CurateHead
from diptych.verbs.curate.looks import CurateLooks
from diptych.verbs.curate.plan import CuratePlan
from diptych.verbs.curate.regions import CurateRegions
from diptych.verbs.group import Group

CURATE = Group(
    "curate",
    "Plan over a pool of pairs, then keep the ones worth training on.",
    (CuratePlan, CurateApply, CurateLooks, CurateHead, CurateRegions),
)
