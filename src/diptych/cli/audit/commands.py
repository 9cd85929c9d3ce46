"""``diptych audit``: where does a model fail, and which captions are wrong?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import Grouped, JsonFile, Label, listed, tell
from diptych.cli.audit.models import audit_robustness, audit_shortcuts
from diptych.cli.audit.report import audit_report
from diptych.cli.audit.sources import audit_sources
from diptych.cli.console import show_table
from diptych.cli.declared import command
from diptych.verbs.audit.association import AuditAssociation
from diptych.verbs.audit.blind import AuditBlind
from diptych.verbs.audit.edits import AuditEdits
from diptych.verbs.audit.pairs import AuditPairs

if TYPE_CHECKING:
    from diptych.core import Control, Finding

app = typer.Typer(
    cls=options.Steps,
    help="Find where a model fails, or which captions do not fit their photos.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _audit() -> None:
    """Find where a model fails, or which captions do not fit their photos."""


@app.command("groups")
@options.offers("overwrite", "json", "device", "precision", "engine", "batch", "workers", "cache", "verify")
def audit_groups(
    data: Grouped,
    group: Annotated[str, options.option("--group", help="Column with the groups, such as domain.")] = "",
    label: Label = "",
    names: options.Names = None,
    gap: Annotated[
        float,
        options.option("--gap", help="Accuracies of the two groups must differ by more than this.", min=0.0, max=0.99),
    ] = 0.05,
    least: Annotated[
        int, options.option("--least", help="Least number of items of a class in each group and half.", min=1)
    ] = 5,
    selection: Annotated[
        str,
        options.option(
            "--selection", help="half: select groups on half of the items and measure on the others; all: both on all."
        ),
    ] = "half",
    seed: Annotated[int, options.option("--seed", help="Seed of the halves and the control.")] = 0,
    out: JsonFile = None,
    backbone: Annotated[
        list[str] | None,
        options.option(
            "--backbone", "-b", help="Repeat for several; the first selects the groups.", rich_help_panel="Model"
        ),
    ] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Find the two groups of each class between which accuracy drops most, and measure the drop on other photos."""
    flag_values.one_of("--selection", selection, "half", "all")
    shared.free(out)

    from diptych.core import ClassNames
    from diptych.data.load import open_data
    from diptych.tasks.audit.groups import audit_groups as audit
    from diptych.tasks.audit.groups import group_auditor, group_prompt

    with shared.open(seed=seed) as opened:
        grouped = open_data(data, opened.keys, need="groups", group=group, label=label)
        class_names = flag_values.class_names(names, grouped.classes)
        run = opened.run
        towers = [opened.backbone(name) for name in dict.fromkeys(backbone or [shared.backbone])]
        method = group_auditor(gap, least, selection)
        findings, failed = audit(
            grouped.split("test"), ClassNames(class_names, (group_prompt(),)), towers, run, method=method
        )
    facts = {"reference": towers[0].spec.name, "gap": gap, "least": least, "selection": selection, "seed": seed}
    report = listed(findings, failed, data=grouped.name, **facts)
    tell(report, failed, out, shared, partial(_show_groups, findings))


def _show_groups(found: list[Finding]) -> None:
    def percent(f: Finding | Control) -> str:
        return f"{100 * (f.value or 0.0):.1f}" + (
            f" [{100 * f.interval[0]:.1f}, {100 * f.interval[1]:.1f}]" if f.interval else ""
        )

    for subject in dict.fromkeys(f.subject for f in found):
        own = [f for f in found if f.subject == subject]
        drop = next(f for f in own if f.measure == "drop" and not f.about)
        kept, controls = drop.details, [(c.title, percent(c)) for c in (drop.control,) if c]
        role = ", which selected the groups" if kept["reference"] else ""
        show_table(
            ["", "points, 95 % interval"],
            [(f.title, percent(f)) for f in own if not f.about] + controls,
            right=(1,),
            title=f"{subject}{role}: {kept['classes']} classes have two groups that differ",
        )
        rows = [f for f in own if f.about]
        show_table(
            ["class", "easy", "hard", "drop"],
            [
                (
                    f.about,
                    f"{', '.join(f.details['common'])} {100 * f.details['common_accuracy']:.0f}",
                    f"{', '.join(f.details['counter'])} {100 * f.details['counter_accuracy']:.0f}",
                    percent(f),
                )
                for f in sorted(rows, key=lambda f: -(f.value or 0.0))
            ],
            right=(3,),
        )


app.command("pairs")(command(AuditPairs))
app.command("report")(audit_report)
app.command("edits")(command(AuditEdits))
app.command("blind")(command(AuditBlind))
app.command("sources")(audit_sources)
app.command("association")(command(AuditAssociation))
app.command("robustness")(audit_robustness)
app.command("shortcuts")(audit_shortcuts)
