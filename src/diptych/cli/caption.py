"""``diptych caption``: write what is on these photos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, one_line, say, short_names, show, show_json
from diptych.cli.photos import open_photos
from diptych.cli.unread import Readers, needs, refuse_unread, uses
from diptych.core import UsageError
from diptych.core.wording import number_of
from diptych.tasks.defaults import DEFAULTS

if TYPE_CHECKING:
    from diptych.tasks.caption import Fit


@dataclass(frozen=True)
class LearnOptions:
    """What a captioner learns from."""

    texts: Annotated[
        str | None,
        options.option(
            "--texts", help="Sentences to learn from: a .txt with one a line, or a table with caption columns."
        ),
    ] = None
    like: Annotated[
        str | None,
        options.option(
            "--like", help="Photos with captions to learn from: a table, perhaps with a column user, or a folder."
        ),
    ] = None
    clean: Annotated[
        str | None,
        options.option(
            "--clean",
            help="Nearest captions: photos of your kind that no sentence describes, on which --rate is held (default: "
            "some that ship).",
        ),
    ] = None
    user: Annotated[
        str | None, options.option("--user", help="Write as this user of --like does, for a method that has users.")
    ] = None


READERS: Readers = {
    "texts": needs("texts"),
    "like": uses("train", "texts", "unlabelled"),
    "user": lambda system: system.personal,
    "clean": lambda system: system.card.slug == DEFAULTS["caption"],
    "rate": lambda system: system.card.slug == DEFAULTS["caption"],
}


@options.offers("overwrite", *options.MODEL)
def caption(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder, a table, or demo:photos.")],
    references: Annotated[
        str | None,
        options.option("--references", help='Columns of the photos\' table to measure against, such as "caption_*".'),
    ] = None,
    judge: Annotated[
        str | None, options.option("--judge", help="Another backbone, which gives CLIPScore.", rich_help_panel="Model")
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A captioner; see diptych systems --verb caption.")
    ] = DEFAULTS["caption"],
    variant: Annotated[
        str, options.option("--variant", help="Variant of the method, such as small; see diptych systems METHOD.")
    ] = "",
    n: Annotated[int, options.option("--captions", "-n", help="Captions of each photo.", min=1)] = 1,
    rate: Annotated[
        float,
        options.option(
            "--rate", help="Nearest captions: share of photos that no sentence describes and that get one all the same."
        ),
    ] = 0.05,
    seed: Annotated[int, options.option("--seed", help="Seed of trainings and draws.")] = 0,
    out: Annotated[Path | None, options.option("--out", "-o", help="Also write a .json file.")] = None,
    *,
    learn: LearnOptions,
    shared: options.RunOptions,
) -> None:
    """Write a caption of each photo, learnt from sentences, or from photos with captions."""
    texts, like, user = learn.texts, learn.like, learn.user
    shared.free(out)
    if references is not None and len(photos) != 1:
        raise UsageError("--references names columns of one table: give the table alone.")

    from diptych import catalog
    from diptych.core import Captioner, Subset
    from diptych.data.files import write_json
    from diptych.data.load import open_data
    from diptych.tasks.caption import caption as caption_photos
    from diptych.tasks.caption import check_judge, check_rate, judge_against, measure
    from diptych.tasks.caption import judge as judged
    from diptych.tasks.evidence import evidence_for

    system = catalog.row(catalog.find(method, Captioner), variant)
    refuse_unread(system, READERS)
    told = rate if method == DEFAULTS["caption"] else None
    if told is not None:
        check_rate(told)
    system.check_extras()
    with shared.open(seed=seed) as opened:
        evidence = evidence_for(system.card, like=like, texts=texts, keys=opened.keys)
        if references is None:
            samples, human_captions = open_photos(photos, opened.keys)[0], None
        else:
            table = open_data(photos[0], opened.keys, need="captions", text=references).whole()
            samples, human_captions = table.items, [list(of_photo) for of_photo in table.columns["captions"].values]
        run, tower = opened.run, opened.backbone()
        none = None if learn.clean is None else open_photos([learn.clean], opened.keys)[0]
        by = None if judge is None else opened.backbone(judge)
        if by is not None:
            check_judge(tower, by)
        result = caption_photos(
            samples,
            evidence,
            tower,
            run,
            method=system,
            n=n,
            rate=told,
            user=user,
            clean=none,
            source=learn.clean or "",
        )
        best = [of_photo[0].value if of_photo else "" for of_photo in result.captions]
        metrics = measure(best, [human_captions[i] for i in result.positions]) if human_captions is not None else {}
        if by is not None:
            kept = Subset(samples, result.positions)
            if human_captions is None:
                metrics["clip_score"] = judged(kept, best, tower, by, run)
            else:
                metrics |= judge_against(kept, best, [human_captions[i] for i in result.positions], tower, by, run)
    data = {
        **result.as_dict(),
        "metrics": metrics,
        "judge": judge,
        "method": method,
        "variant": variant,
        "user": user,
        "backbone": tower.spec.name,
        "seed": seed,
    }
    if out is not None:
        write_json(out, data, overwrite=shared.overwrite)
    if shared.json:
        show_json(data)
    else:
        for name, of_photo, fits in zip(short_names(result.names), result.captions, result.fits, strict=True):
            said = " | ".join(one_line(t.value) for t in of_photo) or "(nothing)"
            show(f"{name}  " + (f"no sentence fits (nearest: {said})" if fits is False else said))
    if result.fit is not None:
        unfit = result.fits.count(False)
        say(
            f"{unfit} of {number_of(len(result.fits), 'photo')} {'has' if len(result.fits) == 1 else 'have'} no "
            f"sentence that fits. A photo that none describes gets one all the same in at most "
            f"{100 * result.fit.rate:g} % of cases, measured on {_measured_on(result.fit)}"
        )
    elif told is not None:
        say("Nothing says whether the sentences fit: too few photos that ship share no word with them.")
    if metrics:
        say("  ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    if result.cut:
        say(
            f"{result.cut:,} sentences are longer than {method} reads: it learnt their beginnings. Shorten them, or "
            f"leave them out."
        )
    finish(result.failed)


def _measured_on(fit: Fit) -> str:
    """Return where the rate of false alarms was measured, and what to do where those photos are of another kind."""
    if fit.source:
        return f"{fit.items} photos of {fit.source}."
    need = math.ceil(round(1 / fit.rate - 1, 9))
    return (
        f"{fit.items} photos that ship, {fit.items - fit.things} of them of clothes; 1 in {fit.things + 1} for other "
        f"things. Yours are of another kind? Give photos that no sentence describes with --clean: {need} or more."
    )
