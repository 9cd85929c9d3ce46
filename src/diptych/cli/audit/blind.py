"""``diptych audit blind``: which different pictures does a model take for the same?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import JsonFile, listed, tell
from diptych.cli.console import short_names, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diptych.core import Encoder, Finding


@options.offers("overwrite", *options.MODEL)
def audit_blind(
    data: Annotated[str, typer.Argument(help="Pictures, or the folder of MMVP-VLM, MMVP or Winoground.")],
    vision: Annotated[
        str,
        options.option(
            "--vision",
            help="The second image encoder: timm:ARCH.TAG, or a backbone; lite: Lite0 without its projection.",
            rich_help_panel="Model",
        ),
    ] = "lite",
    top: Annotated[float, options.option("--top-share", help="Share of pairs that count as alike.")] = 0.01,
    bottom: Annotated[float, options.option("--bottom-share", help="Share of pairs that count as different.")] = 0.3,
    out: JsonFile = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Find pairs of pictures that a second encoder tells apart and the model does not."""
    flag_values.one_suffix(out, ".json")
    shared.free(out)

    from diptych.data.load import open_data
    from diptych.tasks.audit.blind import audit_blind as audit
    from diptych.tasks.audit.blind import stated_pairs

    with shared.open() as opened:
        stated = stated_pairs(data, opened.keys)
        table, template = stated or (open_data(data, opened.keys, need="photos").whole(), "a photo of {}")
        findings, failed = audit(
            table,
            opened.backbone(),
            opened.run,
            vision=None if stated else _encoder(vision),
            name=Path(data).name,
            top=top,
            bottom=bottom,
            template=template,
        )
    tell(listed(findings, failed), failed, out, shared, partial(_show, findings))


def _show(findings: Sequence[Finding]) -> None:
    for f in findings:
        value = f.reason if f.value is None else f"{100 * f.value:.1f} %"
        show(f"{f.title}, {f.about}: {value}")
        if "group_score" in f.details:
            text, both = (100 * f.details[name] for name in ("text_score", "group_score"))
            show(f"  each picture chooses its statement: {text:.1f} % of the pairs; both ways: {both:.1f} %")
        closest = f.details.get("closest", ())
        names = short_names([name for one, two, *_ in closest for name in (one, two)])
        for i, (_, _, own, other) in enumerate(closest):
            show(f"  {names[2 * i]} and {names[2 * i + 1]}: cosine {own:.2f}, by the second encoder {other:.2f}")


def _encoder(name: str) -> Encoder[Any]:
    """Return an image encoder by name."""
    from diptych.backbones.sources.load import load
    from diptych.backbones.sources.vision import load_vision
    from diptych.features.visual import Unprojected

    return Unprojected.of(load(name)) if name == "lite" else load_vision(name).encoders["image"]
