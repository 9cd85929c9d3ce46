"""``diptych detect``: which of these photos are not as they should be, and where?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, short_names, show, show_json
from diptych.cli.unread import Readers, has, needs, refuse_idle, refuse_unread, uses
from diptych.core.errors import DataError, UsageError
from diptych.core.wording import number_of
from diptych.tasks.defaults import DETECTOR, WORD_DETECTOR

if TYPE_CHECKING:
    from diptych.core.data import Samples
    from diptych.data.keys import FileKeys

Thing = Annotated[
    str | None,
    options.option("--object", help='What the photos show, such as "hazelnut", for detectors that are told.'),
]
Auxiliary = Annotated[
    str | None,
    options.option("--auxiliary", help="MVTec folder of another thing, for detectors that learn from anomalies."),
]
READERS: Readers = {"thing": has("thing"), "auxiliary": needs("auxiliary")}


@options.offers("overwrite", *options.MODEL)
def detect(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder or a table.")],
    normal: Annotated[str | None, options.option("--normal", help="A folder of photos without anomalies.")] = None,
    thing: Thing = None,
    auxiliary: Auxiliary = None,
    method: Annotated[
        str | None,
        options.option("--method", "-m", help=f"A detector (default: {WORD_DETECTOR} with --object, else {DETECTOR})."),
    ] = None,
    rate: Annotated[
        float | None,
        options.option("--rate", help="Flag photos at this rate of false alarms, such as 0.05; needs --normal."),
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for heat maps and detect.json.")] = Path(
        "anomalies"
    ),
    seed: Annotated[int, options.option("--seed", help="Seed of draws and trainings.")] = 0,
    *,
    shared: options.RunOptions,
) -> None:
    """Say which photos are anomalous and where, from normal photos or from words alone."""
    slug = method or (WORD_DETECTOR if thing else DETECTOR)
    if normal is None and thing is None and auxiliary is None:
        raise UsageError('Say what is normal: give --normal FOLDER, or --object "hazelnut" for words alone.')

    from diptych.data.load import open_data
    from diptych.evaluation.datasets import open_set
    from diptych.tasks.detect import detect as detect_on
    from diptych.tasks.detect import detector
    from diptych.tasks.detect_errors import labelled_errors
    from diptych.tasks.segment import stems

    system = detector(slug, "", thing or "object")
    refuse_unread(system, READERS)
    if "auxiliary" in system.card.needs.evidence and auxiliary is None:
        raise UsageError(f"{slug} learns from anomalies of another thing: give --auxiliary, a folder as MVTec's.")
    if "train" in system.card.needs.evidence and normal is None:
        raise UsageError(f"{slug} learns what is normal: give --normal, a folder of photos without anomalies.")
    if rate is None and not uses("train")(system):
        refuse_idle(f"{slug} learns nothing from normal photos, and no --rate is asked for", "normal")
    system.check_extras()
    with shared.open(seed=seed) as opened:
        data = open_data(photos, opened.keys, need="photos")
        table = data.whole()
        good = None if normal is None else _folder(normal, opened.keys)
        known = None if auxiliary is None else open_set(auxiliary, "anomalies", opened.keys).split("test")
        shared.free(out / "detect.json")
        tower = opened.backbone()
        result = detect_on(table.items, tower, opened.run, method=system, normal=good, auxiliary=known, rate=rate)
    facts: dict[str, Any] = {
        "backbone": tower.spec.name,
        "method": slug,
        "object": thing,
        "false_alarm_rate": rate,
        "seed": seed,
    }
    errors = labelled_errors(result, table, data.classes, () if good is None else _kinds(good))
    if errors is not None:
        facts["labelled"] = errors
    written = result.write(out, stems([d.name for d in result.found]), facts, overwrite=shared.overwrite)
    if shared.json:
        show_json(written)
    else:
        ranked = result.ranked()
        names = short_names([d.name for d in ranked])
        width = max(map(len, names), default=0)
        for name, d in zip(names, ranked, strict=True):
            mark = "" if d.flagged is None else "  anomalous" if d.flagged else "  normal"
            share = "" if d.normal_share is None else f"  p {d.normal_share:.3f}"
            show(f"{name:<{width}}  {d.score:10.4g}{share}{mark}")
    maps = sum(d.map is not None for d in result.found)
    if errors is not None:
        say(_sentence(errors))
    if result.threshold is not None:
        flagged = sum(bool(d.flagged) for d in result.found)
        promise = f"at most {rate:g} false alarms a normal photo, from" if result.held else "the highest score of"
        say(
            f"{flagged} of {len(result.found)} flagged above {result.threshold:.4g}: {promise} {result.normal[1]} kept "
            f"aside; p: how often a normal photo scores as high"
        )
        if not flagged and result.found:
            least = min(d.normal_share or 1.0 for d in result.found)
            say(
                f"Nothing stands out: normal photos score as high as the highest of these in {100 * least:.0f} of 100 "
                f"cases. A rate from {least:.2g} on flags it; photos that are more alike, or more of them, tell more."
            )
    if result.stretches is not None:
        pair = " and ".join(short_names(list(result.near[0])))
        photos_near = f"{len(result.near)} normal photos are near-duplicates of the next, such as {pair}"
        end = (
            "and kept aside by whole stretches"
            if result.held
            else (
                f"and {result.stretches} stretches kept aside are too few for the rate: the threshold is their highest "
                f"score, and photos of more days are needed to promise more"
            )
        )
        say(f"{photos_near}: they count as frames of stretches, {end}.")
    if slug == WORD_DETECTOR and thing is None:
        say(f"{slug} judges an 'object': say what the photos show with --object, since it looks for damage of that.")
    if result.raised is not None and result.raised < 0.05:
        say(
            f"The photos as a whole score higher than the normal ones kept aside (p {result.raised:.3f}): more than a "
            f"fifth of them are anomalous, or light, camera or time have changed. Then the rate does not hold: look at "
            f"those with the lowest scores, and take --normal from the same days."
        )
    say(
        f"{number_of(maps, 'heat map')} and detect.json in {out}"
        if maps
        else f"detect.json in {out}; {slug} judges whole photos and has no maps"
    )
    finish(result.failed)


def _folder(folder: str, keys: FileKeys) -> Samples[Any]:
    from diptych.data.folders import ImageFiles, image_paths
    from diptych.data.named_sets import located

    paths = image_paths(located(folder))
    if not paths:
        raise DataError(f"No normal photos below {folder}: give a folder that holds some.")
    return ImageFiles(paths, keys)


def _kinds(normal: Samples[Any]) -> set[str]:
    """Return the names of the folders in which normal photos lie."""
    return {Path(normal.name(i)).parent.name for i in range(len(normal))}


def _sentence(errors: dict[str, Any]) -> str:
    """Return what the labels say of a run."""
    ranked = f"AUROC {100 * errors['image_auroc']:.1f} %, EER {100 * errors['eer']:.1f} %"
    rates = (("false_alarms", "false alarms"), ("detected", "found"), ("hter", "HTER"), ("acer", "ACER"))
    held = ", ".join(f"{name} {100 * errors[key]:.1f} %" for key, name in rates if key in errors)
    about = f"By their folders {errors['anomalous']} of {errors['items']} photos are anomalous: {ranked}"
    return f"{about}; at the threshold {held}." if held else f"{about}."
