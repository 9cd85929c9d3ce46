"""``diptych verify``: does a backbone reach its published accuracy on my copy of the data?"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.flags import option
from diptych.cli.offers import offers
from diptych.core import BoundBroken, UsageError

_PUBLISHED = options.RunOptions(backbone="ViT-B-32/laion2b_s34b_b79k")


@offers(*options.MODEL)
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="[BACKBONE]", help="The backbone; the same as --backbone.")
    ] = None,
    data: Annotated[str | None, option("--data", help="The data set: class folders, as they are published.")] = None,
    dataset: Annotated[
        str, option("--dataset", help="imagenet1k, imagenetv2, imagenet-a, imagenet-r or imagenet_sketch.")
    ] = "imagenet1k",
    row: Annotated[
        str | None, option("--row", help="Published backbone to compare with (default: --backbone).")
    ] = None,
    tolerance: Annotated[float, option("--tolerance", help="Largest difference, a fraction.", min=0.0)] = 0.005,
    *,
    shared: options.RunOptions = _PUBLISHED,
) -> None:
    """Measure zero-shot accuracy on your copy of the data and compare it with the published one. Exit code 5: they
    differ.
    """
    from diptych.data.load import open_data
    from diptych.evaluation.verify import compare, published

    shared = shared if name is None else replace(shared, backbone=name)
    chosen = row or shared.backbone
    published(chosen, dataset)  # an unknown row is told before anything is loaded
    if data is None:
        raise UsageError(
            f"Give --data: the folder with the class folders of {dataset}, on which the published accuracy of {chosen} "
            f"is measured again."
        )
    with shared.open() as opened:
        photos = open_data(data, opened.keys, need="classes")
        run, tower = opened.run, opened.backbone()
        result = compare(photos, tower, run, row=chosen, dataset=dataset, tolerance=tolerance)
    if shared.json:
        show_json(result.as_dict())
    else:
        show(f"published  {100 * result.published:.2f} %  {result.row} on {result.dataset} ({result.source})")
        show(
            f"measured   {100 * result.measured:.2f} %  {result.items} of {result.of} photos, 95 % interval "
            f"{_interval(result.low, result.high)}"
        )
    if not result.within:
        sort = "photos" if result.items == result.of else "photos of a part, interval counted in"
        say(
            f"Not within {100 * tolerance:g} points ({result.items} {sort}): check the data, the weights and "
            f"--precision."
        )
    else:
        say(
            f"Within {100 * tolerance:g} points"
            + ("." if result.items == result.of else " of the interval: this is a part of the data set.")
        )
    finish(result.skipped, 0 if result.within else BoundBroken.exit_code)


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.2f} to {100 * high:.2f}"
