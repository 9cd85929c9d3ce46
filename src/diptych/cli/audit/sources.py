"""``diptych audit sources``: which source of training pictures is better, and is a mixture of them?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import Grouped, JsonFile, Label, listed, tell
from diptych.cli.console import say, show_table

if TYPE_CHECKING:
    from diptych.core import Finding


@options.offers("overwrite", *options.MODEL)
def audit_sources(
    data: Grouped,
    group: Annotated[str, options.option("--group", help="Column with the sources, such as domain.")] = "",
    label: Label = "",
    source: Annotated[
        list[str] | None,
        options.option("--source", help="A group; repeat it. The first is the reference (default: all groups)."),
    ] = None,
    names: options.Names = None,
    seed: Annotated[int, options.option("--seed", help="Seed of the halves and the training pictures.")] = 0,
    out: JsonFile = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Train heads on each source and on mixtures, and compare them at equal accuracy."""
    flag_values.one_suffix(out, ".json")
    shared.free(out)

    from diptych.core import ClassNames
    from diptych.data.load import open_data
    from diptych.tasks.audit.sources import audit_sources as audit

    with shared.open(seed=seed) as opened:
        grouped = open_data(data, opened.keys, need="groups", group=group, label=label)
        classes = ClassNames(flag_values.class_names(names, grouped.classes))
        findings, failed = audit(grouped.whole(), classes, opened.backbone(), opened.run, sources=tuple(source or ()))
    report = listed(findings, failed, data=grouped.name, seed=seed)
    tell(report, failed, out, shared, partial(_show, findings))


def _show(findings: list[Finding]) -> None:
    for shift in dict.fromkeys(f.about for f in findings):
        own = [f for f in findings if f.about == shift]
        show_table(
            ["source", "measure", "value, 95 % interval", "control"],
            [(f.subject.removeprefix("source="), f.title, _value(f), _held(f)) for f in own if f.testable],
            right=(2,),
            title=f"on {shift}",
        )
        for f in own:
            if not f.testable:
                say(f"{f.subject.removeprefix('source=')}: {f.title} is not testable. {f.reason}")


def _value(f: Finding) -> str:
    assert f.value is not None  # the caller shows testable findings
    assert f.interval is not None  # every testable finding of this audit has one
    scale, unit = (1.0, "") if f.unit == "slope" else (100.0, " points")
    digits = 2 if f.unit == "slope" else 1
    low, high = (scale * end for end in f.interval)
    return f"{scale * f.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{unit}"


def _held(f: Finding) -> str:
    if f.control is None:
        return "not measured: too few models" if "without_control" in f.details else ""
    return "held" if f.control.held else "found something too"
