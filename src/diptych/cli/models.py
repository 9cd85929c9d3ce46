"""``diptych models``: which backbones there are, and what one is."""

from __future__ import annotations

from typing import Annotated

import typer

from diptych.cli.console import show, show_json, show_table
from diptych.cli.flags import Json
from diptych.cli.offers import Steps

app = typer.Typer(cls=Steps, help="List the backbones, or show one.", invoke_without_command=True, add_completion=False)


@app.callback()
def _models(context: typer.Context) -> None:
    """List backbones, or show what one is; without a command, list them."""
    if context.invoked_subcommand is None:
        models_list()


@app.command("list")
def models_list(
    match: Annotated[
        str, typer.Argument(help='Only names that contain this, or match a pattern such as "ViT-B*".')
    ] = "",
    json: Json = False,
) -> None:
    """List the embedded models and the published weights that open_clip knows; hf:org/name and local:PATH work too."""
    from diptych.api.listing import list_models

    names = list_models(match)
    if json:
        show_json(names)
    else:
        show("\n".join(names))


@app.command("info")
def models_info(
    name: Annotated[str, typer.Argument(help="lite, ViT-B-32/laion2b_s34b_b79k, hf:org/name, local:PATH ...")],
    json: Json = False,
) -> None:
    """Load a backbone and show what it is: architecture, weights, tokenizer, pixels, licence, and the hooks that it
    has.
    """
    from diptych.backbones.sources.load import load
    from diptych.core import MissingHook

    backbone = load(name)
    hooks = {}
    for hook, reach in (
        ("tower:image", lambda: backbone.tower("image")),
        ("tower:text", lambda: backbone.tower("text")),
        ("dense", backbone.dense),
    ):
        try:
            reach()
            hooks[hook] = True
        except MissingHook:
            hooks[hook] = False
    parameters = sum(p.numel() for p in backbone.module().parameters())
    encoders = {modality: encoder.fingerprint for modality, encoder in backbone.encoders.items()}
    details = {"fingerprint": backbone.fingerprint, "encoders": encoders, "parameters": parameters, "hooks": hooks}
    facts = {**backbone.spec.as_dict(), **details}
    if json:
        show_json(facts)
        return
    pixels = facts.pop("pixels")
    facts["encoders"] = ", ".join(f"{modality} {description}" for modality, description in encoders.items())
    facts["hooks"] = ", ".join(h for h, there in hooks.items() if there) or "none"
    rows = [(key, str(value)) for key, value in facts.items()] + [
        (f"pixels {key}", str(value)) for key, value in pixels.items()
    ]
    show_table(["", ""], rows)
