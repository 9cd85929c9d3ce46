"""``diptych systems``: what is there, from the cards. Loads no torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import completion
from diptych.cli.console import show, show_json, show_table
from diptych.cli.flags import Json, Names, option
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.core.settings import Setting

WIDE = 110
"""From so many columns on the systems are a table; else each takes a line, and its claim the next ones."""
NEEDS = 20
"""Width of that column: a wider one would break the names of systems, which are copied."""


def systems(
    slug: Annotated[
        str | None, typer.Argument(help="One system: its whole card.", autocompletion=completion.systems())
    ] = None,
    verb: Annotated[str | None, option("--verb", help="Only systems of this verb, such as classify.")] = None,
    weights: Annotated[
        Path | None,
        option("--weights", help="A weight file that the authors released: it is converted to a folder, once."),
    ] = None,
    released: Annotated[
        str, option("--released", help="Which of the released files it is, if its name does not say.")
    ] = "",
    out: Annotated[Path | None, option("--out", "-o", help="The folder that --weights becomes.")] = None,
    backbone: Annotated[
        str | None, option("--backbone", "-b", help="Backbone that the released system was trained on.")
    ] = None,
    names: Names = None,
    settings: Annotated[
        list[str] | None, option("--set", help="A setting of the released system, as share=0.6; repeat.")
    ] = None,
    generator: Annotated[
        str | None, option("--generator", "-g", help="FILE of the generator that the editor was trained for.")
    ] = None,
    inverter: Annotated[
        str | None, option("--inverter", help="FILE of the inverter that the editor was trained with.")
    ] = None,
    json: Json = False,
) -> None:
    """List the systems, show the card of one, or convert weights that its authors released to a folder."""
    from shutil import get_terminal_size
    from textwrap import fill, indent

    from diptych import catalog

    if weights is not None:
        _convert(slug, weights, released, out, backbone, names, settings, generator, inverter, json)
        return
    given = {
        "--released": released, "--out": out, "--backbone": backbone, "--names": names, "--set": settings,
        "--generator": generator, "--inverter": inverter,
    }  # fmt: skip
    if idle := next((flag for flag, value in given.items() if value), None):
        raise UsageError(f"{idle} belongs to --weights: give a released file, or leave it out.")
    if slug is not None:
        if catalog.of_verb(slug):
            raise UsageError(f"{slug} is a verb, not a system: run 'diptych systems --verb {slug}'.")
        card = catalog.card(slug)
        if verb not in (None, card["verb"]):
            raise UsageError(f"{slug} is a system of {card['verb']}, not of {verb}: leave --verb out.")
        values = _settings(card)
        if json:
            show_json({**card, "settings": [asdict(setting) for setting in values], "released_files": _files(slug)})
        else:
            _card(card, catalog.reached(card, reason=True))
            _show_released(card)
            _show_settings(values)
        return
    cards = catalog.cards()
    verbs = sorted({c["verb"] for c in cards})
    if verb is not None and verb not in verbs:
        raise UsageError(f"There is no system of the verb {verb!r}: choose one of {', '.join(verbs)}.")
    chosen = [c for c in cards if verb in (None, c["verb"])]
    if json:
        show_json(chosen)
        return
    width = get_terminal_size().columns
    if width < WIDE:
        slugs, verb_width = max(len(c["slug"]) for c in chosen), max(map(len, verbs))
        for c in chosen:
            show(f"{c['slug']:<{slugs}}  {c['verb']:<{verb_width}}  {catalog.reached(c)}")
            show(indent(fill(f"{c['claim']} Needs: {_needs(c['needs'])}.", width - 2), "  "))
        return
    needed = {c["slug"]: fill(_needs(c["needs"]), NEEDS) for c in chosen}
    rows = [(c["slug"], c["verb"], catalog.reached(c), needed[c["slug"]], c["claim"]) for c in chosen]
    show_table(["system", "verb", "proof", "needs", "claim"], rows)


def _settings(card: dict[str, Any]) -> list[Setting]:
    """Return the settings of a system from the source of its module, which is not imported."""
    from importlib.util import find_spec
    from pathlib import Path

    from diptych.core.settings import settings_of

    spec = find_spec(card["module"])
    if spec is None or spec.origin is None:
        return []
    return settings_of(Path(spec.origin).read_text(encoding="utf-8"), card["class"])


def _show_settings(settings: list[Setting]) -> None:
    if settings:
        show("Settings, each by --set NAME=VALUE:")
    for setting in settings:
        default = f" = {setting.default}" if setting.default else ""
        show(f"- {setting.name}: {setting.type}{default}" + (f"  {setting.meaning}" if setting.meaning else ""))


def _show_published(published: dict[str, Any]) -> None:
    show(f"Published configuration ({published['where']}): starts from {published['weights']}; {published['data']}.")
    for name in ("settings", "training"):
        if pairs := ", ".join(f"{key}={_plain(value)}" for key, value in published[name].items()):
            show(f"- {'--set published: ' if name == 'settings' else 'flags: '}{pairs}")
    if published["hardware"]:
        show(f"- {published['hardware']}")
    for line in published["absent"]:
        show(f"- not here: {line}")


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _files(slug: str) -> dict[str, Any] | None:
    """Return the table of a system's released files as plain data, without its names of tensors."""
    from diptych.backbones.released import slugs, table

    if slug not in slugs():
        return None
    known = table(slug)
    rows = [{k: v for k, v in asdict(one).items() if v} for one in known.file]
    return {"source": known.source, "commit": known.commit, "licence": known.licence, "files": rows}


def _show_released(card: dict[str, Any]) -> None:
    files = _files(card["slug"])
    if files is None:
        if card["released"]:
            show(f"Released weights: {card['released']}.")
        return
    show(f"Released weights, by {files['source']} (read at {files['commit']}; licence: {files['licence']}):")
    for one in files["files"]:
        words = f"not read here, since {one['unread']}." if "unread" in one else one.get("note", "")
        listed = f" ({', '.join(one['files'])})" if "files" in one else ""
        show(f"- {one['name']}{listed}" + (f": {words}" if words else ""))
    if any("unread" not in one for one in files["files"]):
        whole = any("architecture" in one for one in files["files"]) or not card["needs"]["hooks"]
        more = "" if whole else " --backbone NAME"
        more += " --generator FILE" if "StyleGenerator" in card["needs"]["parts"] else ""
        more += " --inverter FILE" if "MapInverter" in card["needs"]["parts"] else ""
        show(f"To use one: diptych systems {card['slug']} --weights FILE{more} --out FOLDER.")


def _convert(
    slug: str | None,
    weights: Path,
    released: str,
    out: Path | None,
    backbone: str | None,
    names: str | None,
    settings: list[str] | None,
    generator: str | None,
    inverter: str | None,
    json: bool,
) -> None:
    if slug is None or out is None:
        raise UsageError("--weights takes the system and a folder: diptych systems SLUG --weights FILE --out FOLDER.")
    from diptych import catalog
    from diptych.core import Run
    from diptych.data.words.templates import SINGLE
    from diptych.tasks.released import convert
    from diptych.tasks.runs import open_backbone
    from diptych.verbs.names import names_of

    catalog.card(slug)  # an unknown system is named before anything is read
    run = Run()
    converted = convert(
        slug,
        weights,
        out,
        run,
        released=released,
        backbone=None if backbone is None else lambda: open_backbone(str(backbone), run),
        classes=None if names is None else names_of(names, (), SINGLE),
        settings=dict(_setting(text) for text in settings or ()),
        generator=generator,
        inverter=inverter,
    )
    if json:
        show_json({"released": converted.name, "folder": str(converted.folder), "use": converted.how})
    else:
        show(f"{converted.folder} holds {converted.name}: use it {converted.how}.")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"--set takes NAME=VALUE, such as share=0.6, not {text!r}.")
    return name, value


def _needs(needs: dict[str, Any]) -> str:
    hooks = [h for h in needs["hooks"] if h not in ("image", "text")]
    return ", ".join([*needs["evidence"], *hooks, *needs["parts"], *(f"extra {e}" for e in needs["extras"])]) or "names"


def _circumstances(card: dict[str, Any]) -> str:
    """Say where a result was reached, and what of the plan it leaves open."""
    result = card["result"]
    if result is None or not result["of_this_proof"]:
        return ""
    planned = card["proof"]["datasets"] if card["proof"] else []
    left = [name for name in planned if name not in result["datasets"]]
    words = f", on {', '.join(result['datasets'])} with {result['backbone']}, {result['date']}"
    return words + (f"; not run on {', '.join(left)}" if left else "")


def _card(card: dict[str, Any], reached: str) -> None:
    show(f"{card['name']} ({card['slug']}), {card['verb']}, {card['year']}")
    show(f"{card['title']}\n{card['url']}\n")
    show(card["claim"])
    drawn = f" The seed decides {card['draws']}." if card["draws"] else ""
    show(f"\nNeeds: {_needs(card['needs'])}. Trains: {card['trains']}.{drawn}")
    if len(card["variants"]) > 1:
        show(f"Variants: {', '.join(repr(v) if ' ' in v else v or '(default)' for v in card['variants'])}.")
    if card["published"]:
        _show_published(card["published"])
    if card["differs"]:
        show("Where paper, released code and this differ:")
        for line in card["differs"]:
            show(f"- {line}")
    if card["proof"]:
        plan = card["proof"]
        show(f"Proof: {plan['claim']}\nControl: {plan['control']}")
        show(f"Planned: {plan['planned_stage']}, on {', '.join(plan['datasets'])}, {plan['seeds']} seeds.")
    show(f"Result: {reached}{_circumstances(card)}.")
    if card["headlines"]:
        rows = [
            (h["dataset"], h["backbone"], h["metric"], f"{h['value']:g}", h["baseline"], h["where"])
            for h in card["headlines"]
        ]
        show_table(["data set", "backbone", "metric", "published", "baseline", "read in"], rows, right=(3,))
