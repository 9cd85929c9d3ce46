"""``diptych audit report``: all audits that the data allow, as one page, and as a gate in someone's CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.tables import MoreTables
from diptych.cli.console import finish, say, show, show_json, show_table
from diptych.core import DataError

if TYPE_CHECKING:
    from diptych.tasks.audit.report import Report

BROKEN = 5
"""Exit code of a broken bound; it wins over 3, some pictures skipped."""

_bounds = {"rich_help_panel": "Bounds"}


@dataclass(frozen=True)
class Bounds:
    """Bounds on measures."""

    at_most: Annotated[
        list[str] | None,
        options.option("--at-most", help="Upper bound, MEASURE=NUMBER or MEASURE:ABOUT=NUMBER; repeat.", **_bounds),
    ] = None
    at_least: Annotated[
        list[str] | None,
        options.option("--at-least", help="Lower bound, such as accuracy=0.8; repeat.", **_bounds),
    ] = None


@options.offers("overwrite", *options.MODEL)
def audit_report(
    data: Annotated[
        str, typer.Argument(help="A folder of classes, or a table with classes or captions; test, and perhaps train.")
    ],
    against: Annotated[
        list[str] | None,
        options.option("--against", help="Another model to compare with; repeat.", rich_help_panel="Model"),
    ] = None,
    names: options.Names = None,
    only: Annotated[str, options.option("--only", help="Audits to run, with commas (default: all).")] = "",
    images: Annotated[bool, options.option("--images/--no-images", help="Show pictures on the page.")] = True,
    seed: Annotated[int, options.option("--seed", help="Seed of halves and controls.")] = 0,
    measured: Annotated[
        Path | None,
        options.option("--measured", help="Results of these models from elsewhere: a table of model, measure, value."),
    ] = None,
    out: Annotated[Path | None, options.option("--out", "-o", help="Write a .html page or a .json file.")] = None,
    *,
    more: MoreTables,
    limits: Bounds,
    shared: options.RunOptions,
) -> None:
    """Run every audit that the data allow, and list the worst findings first. Exit code 5: a bound is broken."""
    flag_values.one_suffix(out, ".html", ".json")
    shared.free(out)

    from diptych.backbones.provenance import record_of
    from diptych.core import Kit, Subject
    from diptych.data.files import write_json, write_whole
    from diptych.tasks.audit.measured import with_measured
    from diptych.tasks.audit.report import Bound, report
    from diptych.tasks.audit.report_page import html

    bounds = [Bound.read(b, "at most") for b in limits.at_most or ()]
    bounds += [Bound.read(b, "at least") for b in limits.at_least or ()]
    asked = dict.fromkeys((shared.backbone, *(against or ())))
    with shared.open(seed=seed) as opened:
        given = more.open(data, opened)
        run = opened.run
        towers = [opened.backbone(name) for name in asked]
        tables, failed = given.gathered(names, towers[0], run)
        subjects = {b.spec.name: Subject(Kit.of(b), record_of(b.spec)) for b in towers}
        subjects = with_measured(subjects, measured) if measured else subjects
        chosen = tuple(flag_values.words(only)) if only else ()
        title = f"{given.own.name}: audit of {towers[0].spec.name}"
        made = report(subjects, tables, run, title=title, only=chosen, bounds=bounds, failed=failed)
        if not any(f.testable for f in made.all()) and made.blame is None:
            raise DataError(f"Nothing could be tested on {data}: {' '.join(made.lacking.values())}")
        page = html(made, images=images) if out is not None and out.suffix == ".html" else ""
    if out is not None and page:
        write_whole(out, page, overwrite=True)
    elif out is not None:
        write_json(out, made.as_dict(), overwrite=True)
    if shared.json:
        show_json(made.as_dict())
    else:
        _show(made)
    if out is not None:
        say(f"Written to {out}.")
    for v in made.broken:
        say(f"Broken: {v.bound} ({v.subject}). {v.why}")
    finish(failed, BROKEN if made.broken else 0)


def _show(made: Report) -> None:
    from diptych.tasks.audit.report import by_severity, is_failure
    from diptych.tasks.audit.report_page import named, number

    main = next(iter(made.subjects))
    own = [f for f in by_severity(made.all()) if f.subject == main]
    worded, besides = [f for f in own if is_failure(f)], [f for f in own if f.testable and not is_failure(f)]
    if worded:
        rows = [(f.says, f"{f.title} {number(f)}", f"{f.count} {f.counted}") for f in worded]
        show_table(["finding, the worst first", "value, 95 % interval", "from"], rows, title=main)
    else:
        show(f"{main}: no failure was found beyond doubt.")
    if besides:
        show_table(
            ["measured besides", "value, 95 % interval", "control"],
            [
                (
                    named(f),
                    number(f),
                    "" if f.control is None else "held" if f.control.held else "found something too",
                )
                for f in besides
            ],
        )
    silent = sum(not f.testable for f in made.all())
    if made.blame is not None and made.blame.confusions:
        first = made.blame.confusions[0]
        show(
            f"Most frequent confusion by the training pictures: {first.count} of {first.of} pictures of "
            f"{first.true} are taken for {first.predicted}."
        )
    if made.blame is not None:
        found = made.blame
        show(
            f"{len(found.suspects)} of {found.trained} training labels may be wrong, hard pictures among them; of "
            f"{found.planted} labels changed on purpose {found.found} are found."
        )
    for slug, reason in made.lacking.items():
        say(f"{slug} was not run: {reason}")
    if silent:
        say(f"Not testable here: {silent} of {len(made.all())} measures. The page and the JSON say why.")
