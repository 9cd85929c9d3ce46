"""``diptych audit``: where does a model fail, and which captions are wrong?"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import Grouped, JsonFile, Label, listed, tell
from diptych.cli.audit.association import audit_association
from diptych.cli.audit.blind import audit_blind
from diptych.cli.audit.edits import audit_edits
from diptych.cli.audit.models import audit_robustness, audit_shortcuts
from diptych.cli.audit.report import audit_report
from diptych.cli.audit.sources import audit_sources
from diptych.cli.console import finish, one_line, say, short_names, show, show_json, show_table
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core import Control, Finding, Part, Table
    from diptych.tasks.audit.groups import AuditedPairs

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


@app.command("pairs")
@options.offers("overwrite", *options.MODEL)
def audit_pairs(
    table: Annotated[str, typer.Argument(help="A table with pictures and captions.")],
    image: Annotated[
        str, options.option("--image", help="Column with the picture (default: path, filepath, image).")
    ] = "",
    text: Annotated[
        str, options.option("--text", help="Column with the caption (default: caption, title, text).")
    ] = "",
    clean: Annotated[
        str | None,
        options.option(
            "--clean", help="A table of pairs like yours that are known to be right (default: photos that ship)."
        ),
    ] = None,
    rate: Annotated[
        float, options.option("--false-alarm-rate", help="Share of right captions that may stand out.")
    ] = 0.05,
    choice: Annotated[
        str, options.option("--choice", help="Rank by the words instead: threshold, or most-negative.")
    ] = "",
    threshold: Annotated[
        float | None, options.option("--threshold", help="Rank by the words: those below this attribution are wrong.")
    ] = None,
    top: Annotated[int, options.option("--top", "-k", help="Pairs to print, the worst first.", min=1)] = 20,
    out: Annotated[Path | None, options.option("--out", "-o", help="Also write a .json or .html file.")] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Find captions that fit their photos worse than right captions do, and the word of each that fits least."""
    flag_values.one_suffix(out, ".json", ".html")
    shared.free(out)
    by_words = bool(choice) or threshold is not None
    choice = choice or ("threshold" if by_words else "most-negative")
    flag_values.one_of("--choice", choice, "threshold", "most-negative")
    if by_words and clean is not None:
        raise UsageError("--clean says how well right captions fit: leave --choice and --threshold out.")

    from diptych.data.files import write_json, write_whole
    from diptych.data.load import open_data
    from diptych.tasks.audit.groups import audit_pairs as audit
    from diptych.tasks.audit.groups import pair_auditor, right_captions
    from diptych.tasks.audit.page import html

    def opened_pairs(path: str) -> Table[Any]:
        return open_data(path, opened.keys, need="captions", image=image, text=text).whole()

    with shared.open() as opened:
        pairs, known = opened_pairs(table), None if clean is None else opened_pairs(clean)
        run, tower = opened.run, opened.backbone()
        right = None
        if not by_words:
            right = right_captions(tower, run, rate, known, source=clean or "", keys=opened.keys)
        result = audit(pairs, tower, run, method=pair_auditor(choice, threshold))
        result = result if right is None else result.against(right)
    if out is not None and out.suffix == ".html":
        title = f"{Path(table).name}: captions against photos with {tower.spec.name}"
        write_whole(out, html(result, pairs.items, title), overwrite=True)
    elif out is not None:
        write_json(out, result.as_dict(), overwrite=True)
    if shared.json:
        show_json(result.as_dict())
    else:
        for name, row in zip(short_names([r.name for r in result.rows]), result.rows[:top], strict=False):
            lead = f"{row.score:+.2e}" if right is None else "stands out" if row.stands_out else f"{'':10}"
            show(f"{lead}  cos {row.cosine:.2f}  {name}\n  {_marked(row.text, row.parts)}")
    say(_told(result))
    finish(result.failed)


def _told(result: AuditedPairs) -> str:
    """Return what stands out, and how far to trust it."""
    right, count = result.right, len(result.rows)
    if right is None:
        marked = sum(any(p.chosen for p in row.parts) for row in result.rows)
        return f"{marked} of {count} captions have a marked word" + ("" if marked else ": nothing stands out")
    n, found = len(right.cosines), sum(bool(row.stands_out) for row in result.rows)
    best = min((row.right_share for row in result.rows if row.right_share is not None), default=1.0)
    said = f"{found} of {count} captions stand out" if found else "Nothing stands out"
    if not found and best < 1:
        said += f" (the nearest to it would from --false-alarm-rate {best:.2g} on)"
    of = f"{n} right captions of {right.source}" if right.source else f"{n} right captions that ship"
    said += f": at most {100 * right.rate:g} % of right captions do so too, measured on {of}"
    if not right.source:
        said += (
            f", {right.clothes} of them of clothes. Yours are of another kind? Give right ones with --clean: "
            f"{math.ceil(round(1 / right.rate - 1, 9))} or more"
        )
    return said + "."


app.command("report")(audit_report)
app.command("edits")(audit_edits)
app.command("blind")(audit_blind)
app.command("sources")(audit_sources)
app.command("association")(audit_association)
app.command("robustness")(audit_robustness)
app.command("shortcuts")(audit_shortcuts)


def _marked(text: str, parts: tuple[Part, ...]) -> str:
    """Return the text with wrong words in red where the terminal shows colours, and in [brackets] everywhere."""
    from rich.console import Console
    from rich.style import Style

    colour = Console().color_system
    for part in sorted((p for p in parts if p.chosen), key=lambda p: -p.start):
        word = f"[{text[part.start : part.end]}]"
        shown = Style(color="red", bold=True).render(word) if colour else word
        text = text[: part.start] + shown + text[part.end :]
    return "".join(c if c == "\x1b" else one_line(c) for c in text)
