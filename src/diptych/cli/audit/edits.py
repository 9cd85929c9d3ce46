"""``diptych audit edits``: which edit of a picture does what was asked and keeps the rest?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import JsonFile, tell
from diptych.cli.console import short_names, show

if TYPE_CHECKING:
    from diptych.tasks.audit.edits import RankedEdits


@options.offers("overwrite", *options.MODEL)
def audit_edits(
    table: Annotated[
        str,
        typer.Argument(help="A table: source, edit, target, and source_attributes, target_attributes with | between."),
    ],
    margin: Annotated[
        float | None,
        options.option(
            "--margin", help="How far beyond the plane the ideal edit is; 0: on it (default: the target's).", min=0.0
        ),
    ] = None,
    out: JsonFile = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Rank the edits of each picture: the requested change must show, and the rest must stay the same."""
    flag_values.one_suffix(out, ".json")
    shared.free(out)

    from diptych.data.edits import read_edits
    from diptych.tasks.audit.edits import audit_edits as audit
    from diptych.tasks.audit.edits import edit_auditor

    with shared.open() as opened:
        edits = read_edits(table, opened.keys)
        ranked = audit(edits, opened.backbone(), opened.run, method=edit_auditor(margin))
    tell(ranked.as_dict(), ranked.failed, out, shared, partial(_show, ranked))


def _show(ranked: RankedEdits) -> None:
    names = short_names([n for r in ranked.rows for n in (r.source, r.edit)])
    for i, row in enumerate(ranked.rows):
        if row.rank == 1:
            show(f"{names[2 * i]}: {row.target}")
        cosine, same = row.columns["cosine"], row.columns["source_similarity"]
        shown = f"  {row.rank}  {row.score:.3f}  {names[2 * i + 1]}"
        show(f"{shown}  (cosine to text {cosine:.2f}, to source {same:.2f})")
