"""``diptych generate``: make pictures from words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import say, show, show_json
from diptych.cli.unread import Readers, never, refuse_unread, uses
from diptych.core import UsageError
from diptych.core.wording import number_of

_TINY = options.RunOptions(backbone="tiny", engine="torch", workers=1)
LISTING = "generate.json"
READERS: Readers = {"denoiser": never, "steps": never, "guidance": never, "like": uses("train", "texts", "unlabelled")}
"""Of the systems that take the place of the denoiser."""


@options.offers("overwrite", "json", "backbone", "device", "precision", "batch", "cache", "verify")
def generate(
    texts: Annotated[list[str], typer.Argument(help='What the pictures shall show: "a red circle".')],
    denoiser: Annotated[
        str, options.option("--denoiser", help="small, or local:FOLDER with a pipeline of diffusers.")
    ] = "small",
    count: Annotated[int, options.option("--count", "-n", help="Pictures made of each text.", min=1)] = 4,
    steps: Annotated[int, options.option("--steps", help="Steps of sampling.", min=1)] = 25,
    guidance: Annotated[
        float, options.option("--guidance", help="How strongly the text is followed; 1 is not at all more.", min=0.0)
    ] = 3.0,
    seed: Annotated[int, options.option("--seed", help="Seed of the noise, and of a training.")] = 0,
    method: Annotated[
        str | None,
        options.option("--method", "-m", help="A system that makes pictures from words, in the place of the denoiser."),
    ] = None,
    variant: Annotated[
        str, options.option("--variant", help="Variant of the method; see diptych systems METHOD.")
    ] = "",
    like: Annotated[
        str | None, options.option("--like", help="Photos with captions to learn from, for a method that learns.")
    ] = None,
    fitted: Annotated[
        Path | None, options.option("--fitted", help="Folder of the trained method: read if it is there, else written.")
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for the pictures and generate.json.")] = Path(
        "pictures"
    ),
    *,
    shared: options.RunOptions = _TINY,
) -> None:
    """Make pictures from words."""
    from diptych import catalog
    from diptych.backbones.diffusion.load import load_diffusion
    from diptych.core import EditAsk, Editor
    from diptych.tasks.edit import edit, files, fitted_editor, names_of
    from diptych.tasks.edit_parts import kit_for
    from diptych.tasks.evidence import evidence_for
    from diptych.tasks.generate import check_texts
    from diptych.tasks.generate import generate as generate_pictures

    check_texts(texts)
    ask = EditAsk("", tuple(texts), count=count)
    system = None if method is None else catalog.row(catalog.find(method, Editor), variant)
    if system is None and (like or fitted or variant):
        raise UsageError("The denoiser learns nothing: give --method, or leave --like, --fitted and --variant out.")
    if system is not None:
        refuse_unread(system, READERS)
        system.takes.check(ask, system.card.name)
        if fitted is None or not fitted.exists():
            system.check_extras()
    with shared.open(seed=seed) as opened:
        run = opened.run
        shared.free(*files(out, names_of(ask, run)), out / LISTING)
        tower = opened.backbone()
        if system is None:
            diffusion = load_diffusion(denoiser, tower)
            result = generate_pictures(texts, diffusion, run, count=count, steps=steps, guidance=guidance)
        else:
            known = fitted is not None and fitted.exists()
            evidence = None if known else evidence_for(system.card, like=like, keys=opened.keys)
            kit = kit_for(system.card, tower)
            result = edit(fitted_editor(kit, run, method=system, evidence=evidence, folder=fitted), ask, run)
    own = {"method": method, "variant": variant}
    about = {
        **({"denoiser": denoiser, "steps": steps, "guidance": guidance} if system is None else own),
        "backbone": tower.spec.name,
        "seed": seed,
    }
    paths = result.write(out, about, listing=LISTING, overwrite=shared.overwrite)
    if shared.json:
        show_json({**result.as_dict(), **about})
    else:
        for path in paths:
            show(path.name)
    say(f"{number_of(len(paths), 'picture')} and {LISTING} in {out}")
