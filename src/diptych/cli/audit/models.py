"""``diptych audit robustness`` and ``diptych audit shortcuts``: one system, any models, the same pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import JsonFile, listed, tell
from diptych.cli.audit.tables import MoreTables
from diptych.cli.console import say, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from diptych.core import Auditor, Finding

Against = Annotated[
    list[str] | None,
    options.option("--against", help="Another model to compare with; repeat.", rich_help_panel="Model"),
]


@options.offers("overwrite", *options.MODEL)
def audit_robustness(
    data: Annotated[str, typer.Argument(help="A folder of classes, or a table with classes or captions.")],
    factor: Annotated[
        list[str] | None, options.option("--factor", help="A visual factor, such as darker; repeat (default: all).")
    ] = None,
    against: Against = None,
    names: options.Names = None,
    seed: Annotated[int, options.option("--seed", help="Seed of halves and controls.")] = 0,
    out: JsonFile = None,
    *,
    more: MoreTables,
    shared: options.RunOptions,
) -> None:
    """Measure a model along independent axes: visual factors, shifts, shape bias, calibration, unknown objects."""
    from diptych.tasks.audit.models import robustness_auditor

    _audit(robustness_auditor(factor or ()), data, against, names, seed, out, more, shared)


@options.offers("overwrite", *options.MODEL)
def audit_shortcuts(
    data: Annotated[str, typer.Argument(help="A folder of classes, or a table with classes.")],
    shortcut: Annotated[
        float | None, options.option("--share", help="Share of training pictures whose mark agrees with the label.")
    ] = None,
    opacity: Annotated[
        list[float] | None, options.option("--opacity", help="Opacity of the mark, such as 0.3; repeat.")
    ] = None,
    draws: Annotated[int | None, options.option("--draws", help="Trainings of each head and opacity.")] = None,
    against: Against = None,
    names: options.Names = None,
    label: Annotated[str, options.option("--label", help="Column with the classes.")] = "",
    seed: Annotated[int, options.option("--seed", help="Seed of marks and trainings.")] = 0,
    out: JsonFile = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Plant a mark that correlates with the label, and measure how much heads on a model's features rely on it."""
    from diptych.tasks.audit.models import shortcut_auditor

    auditor = shortcut_auditor(shortcut, opacity or (), draws)
    _audit(auditor, data, against, names, seed, out, MoreTables(label=label), shared)


def _audit(
    auditor: Auditor,
    data: str,
    against: list[str] | None,
    names: str | None,
    seed: int,
    out: Path | None,
    more: MoreTables,
    shared: options.RunOptions,
) -> None:
    """Audit the backbone and those that it is compared with, and tell."""
    flag_values.one_suffix(out, ".json")
    shared.free(out)

    from diptych.tasks.audit.models import audit_models

    with shared.open(seed=seed) as opened:
        given = more.open(data, opened)
        backbones = [opened.backbone(name) for name in dict.fromkeys((shared.backbone, *(against or ())))]
        tables, failed = given.gathered(names, backbones[0], opened.run)
        findings = audit_models(auditor, backbones, tables, opened.run)
    report = listed(findings, failed, data=given.own.name, audit=auditor.card.slug, seed=seed)
    tell(report, failed, out, shared, partial(_show, findings))


def _show(findings: Sequence[Finding]) -> None:
    """Print a table for each model, and how much of it is not testable."""
    from diptych.tasks.audit.report_page import named, number

    for subject in dict.fromkeys(f.subject for f in findings):
        of_subject = [f for f in findings if f.subject == subject]
        rows = [(named(f), number(f), _control(f), str(f.count or "")) for f in of_subject if f.testable]
        show_table(["measure", "value, 95 % interval", "control", "items"], rows, right=(3,), title=subject)
        if silent := [f for f in of_subject if not f.testable]:
            say(f"{subject}: {len(silent)} measures are not testable here, such as {named(silent[0])}: "
                f"{silent[0].reason}")  # fmt: skip


def _control(f: Finding) -> str:
    return "" if f.control is None else "held" if f.control.held else "found something too"
