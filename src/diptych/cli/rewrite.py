"""``diptych rewrite``: say more in prompts for a text-to-image model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import one_line, say, show, show_json
from diptych.cli.unread import Readers, refuse_unread, uses
from diptych.core.wording import number_of
from diptych.tasks.defaults import slug_and_row

_TINY = options.RunOptions(backbone="tiny", engine="torch", workers=1)

READERS: Readers = {
    "like": uses("train", "texts", "unlabelled"),
    "denoiser": lambda system: getattr(system, "image", False),
}


@options.offers("overwrite", "json", "backbone", "device", "precision", "batch", "cache", "verify")
def rewrite(
    prompts: Annotated[list[str], typer.Argument(help="A .txt file with a prompt a line, or prompts.")],
    like: Annotated[
        str | None,
        options.option("--like", help="Photos with a short and a long caption each to learn from: a table or folder."),
    ] = None,
    method: Annotated[
        str, options.option("--method", "-m", help="A rewriter; see diptych systems --verb rewrite.")
    ] = slug_and_row("rewrite")[0],
    variant: Annotated[
        str, options.option("--variant", help='Variant of the method: small, text (no denoiser), or "", the paper\'s.')
    ] = slug_and_row("rewrite")[1],
    choices: Annotated[int, options.option("--choices", "-n", help="Rewrites of each prompt.", min=1)] = 5,
    denoiser: Annotated[
        str, options.option("--denoiser", help="small, or local:FOLDER with a pipeline of diffusers.")
    ] = "small",
    fitted: Annotated[
        Path | None,
        options.option("--fitted", help="Folder of the trained rewriter: read if it is there, else written."),
    ] = None,
    seed: Annotated[int, options.option("--seed", help="Seed of the training.")] = 0,
    out: Annotated[Path | None, options.option("--out", "-o", help="Also write a .json file.")] = None,
    *,
    shared: options.RunOptions = _TINY,
) -> None:
    """Write longer prompts from short ones, several of each to choose from."""
    shared.free(out)
    from diptych import catalog
    from diptych.core import Kit, Rewriter
    from diptych.data.files import write_json
    from diptych.tasks.evidence import evidence_for
    from diptych.tasks.rewrite import check_choices, fitted_rewriter, read_prompts
    from diptych.tasks.rewrite import rewrite as rewrite_prompts

    said = read_prompts(prompts)
    system = catalog.row(catalog.find(method, Rewriter), variant)
    refuse_unread(system, READERS)
    check_choices(system, choices)
    known = fitted is not None and fitted.exists()
    if not known:
        system.check_extras()
    with shared.open(seed=seed) as opened:
        evidence = None if known else evidence_for(system.card, like=like, keys=opened.keys)
        run, tower = opened.run, opened.backbone()
        parts: dict[str, Any] = {"main": tower}
        if not known and getattr(system, "image", False):
            from diptych.backbones.diffusion.load import load_diffusion

            parts["diffusion"] = load_diffusion(denoiser, tower)
        writer = fitted_rewriter(Kit(parts), run, system, evidence=evidence, folder=fitted)
        result = rewrite_prompts(writer, said, choices=choices)
    data = {**result.as_dict(), "method": method, "variant": variant, "backbone": tower.spec.name, "seed": seed}
    if out is not None:
        write_json(out, data, overwrite=shared.overwrite)
    if shared.json:
        show_json(data)
        return
    for row in data["prompts"]:
        show(one_line(row["prompt"]))
        for text in row["rewrites"]:
            show(f"  {one_line(text)}")
    say(f"{number_of(len(said), 'prompt')}; distinct-2 of all rewrites {data['distinct_2']:.2f}")
