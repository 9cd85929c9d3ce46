"""Pictures that a model takes for the same, by the eyes of a second image encoder; and pairs with statements."""

from __future__ import annotations

from typing import Any

from diptych.backbones.provenance import record_of
from diptych.core import AuditData, Auditor, Backbone, Encoder, Finding, Kit, Probe, Run, Subject, Table, UnreadableItem
from diptych.data.formats.mmvp import is_mmvp, is_mmvp_vlm, read_mmvp, read_mmvp_vlm
from diptych.data.formats.winoground import is_winoground, read_winoground
from diptych.data.keys import FileKeys
from diptych.features.embed import embed_readable
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import default

STATED = (
    (is_mmvp_vlm, read_mmvp_vlm, "a photo of {}"),
    (is_mmvp, read_mmvp, "{}"),
    (is_winoground, read_winoground, "{}"),
)
"""Published layouts of pairs with statements: whether a folder has one, its reader, and the template of a statement."""


def stated_pairs(folder: str, keys: FileKeys | None = None) -> tuple[Table[Any], str] | None:
    """Return the pairs of a folder in one of the layouts, and the template of their statements; None for others."""
    return next(((read(folder, keys), template) for has, read, template in STATED if has(folder)), None)


def audit_blind(
    table: Table[Any],
    backbone: Backbone,
    run: Run | None = None,
    *,
    vision: Encoder[Any] | None = None,
    name: str = "pictures",
    method: Auditor | None = None,
) -> tuple[list[Finding], tuple[UnreadableItem, ...]]:
    """Mine blind pairs among pictures, or count the pairs of a table whose statements choose their picture.

    Args:
        table: pictures; with the columns "group" and "captions", pairs with statements.
        backbone: the model.
        run: device, cache and seed; None: a plain CPU run.
        vision: the second image encoder; None: only pairs with statements are counted.
        name: of the table.
        method: any auditor of such tables; None is MMVP.

    Returns:
        The findings, and the pictures that were left out because a file cannot be read; their pairs are left out too.

    Raises:
        DataError: there are neither statements nor a second encoder, or fewer than two pictures.
    """
    auditor = method or default("audit blind", Auditor)
    with with_store(run or Run()) as stored:
        found = embed_readable(backbone.image, table.items, stored)
        rows = [int(i) for i in found.kept]
        paired = {"group", "captions"} <= set(table.columns)
        if paired:
            groups = [str(g) for g in table.columns["group"].values]
            lost = {groups[i] for i in range(len(table)) if i not in set(rows)}
            rows = [i for i in rows if groups[i] not in lost]
        kept = table.take(rows)
        parts = {"main": backbone} | ({} if vision is None else {"vision": vision})
        subject = Subject(Kit(parts), record_of(backbone.spec))
        probes = {name: Probe(kept, "pairs" if paired else "id")}
        return auditor.audit({backbone.spec.name: subject}, AuditData(probes), stored), found.failed
