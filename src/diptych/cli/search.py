"""``diptych search``: find a photo in an index, by words, by another photo, or by both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.console import one_line, say, show, show_json
from diptych.cli.index import like_index, promise, tower_of

if TYPE_CHECKING:
    from diptych.backbones.engines.cached_backbone import CachedBackbone
    from diptych.core import Backbone
    from diptych.search_index.rows import Modality

_ONE = options.RunOptions(batch=1, workers=1)


@options.offers("overwrite", "json", "device", "engine", "cache")
def search(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of diptych index.")],
    query: Annotated[
        list[str], typer.Argument(help='Words and pictures, added up: "a red car" photo.jpg "2:at night".')
    ],
    minus: Annotated[
        list[str] | None,
        options.option("--minus", "-m", help='Words or pictures to move away from, such as "0.5:snow".'),
    ] = None,
    where: Annotated[
        list[str] | None,
        options.option("--where", "-w", help='Condition on metadata: label=cat, "year>=1990", "name~*holiday*".'),
    ] = None,
    top: Annotated[int, options.option("--top", "-k", help="Number of answers.", min=1)] = 10,
    captions: Annotated[
        float | None,
        options.option("--captions", help="Share of the captions in the score, 0 to 1 (default 0).", min=0.0, max=1.0),
    ] = None,
    exact: Annotated[bool, options.option("--exact", help="Look at every entry, however many.")] = False,
    at_least: Annotated[
        float | None,
        options.option(
            "--at-least", help="Cut where this share of answers is expected to be right, such as 0.8.", min=0.0, max=1.0
        ),
    ] = None,
    html: Annotated[Path | None, options.option("--html", help="Also write a page with the pictures.")] = None,
    backbone: Annotated[
        str | None, options.option("--backbone", "-b", help="Default: that of the index.", rich_help_panel="Model")
    ] = None,
    *,
    shared: options.RunOptions = _ONE,
) -> None:
    """Find the entries nearest to words, pictures, or both."""
    from diptych.search_index.index import Index

    shared.free(html, flag="--html")
    with Index(folder) as index:
        facts = dict(index.facts)

    from diptych.data.files import write_whole
    from diptych.tasks.search.ask import Term, torchless
    from diptych.tasks.search.ask import search as ask
    from diptych.tasks.search.spaces import modality_named, sample_term

    terms = [*(Term.parse(q) for q in query), *(Term.parse(m, -1.0) for m in minus or ())]
    made_with = backbone or str(facts.get("backbone", "lite"))
    parts: dict[Modality, float] = {} if captions is None else {"image": 1 - captions, "text": captions}
    weights = {m: w for m, w in parts.items() if w} or None
    with like_index(shared, facts, backbone).open() as opened:
        samples = modality_named(made_with)
        known = opened.recalled if samples is None and opened.options.backbone == made_with else None
        tower: Backbone | CachedBackbone
        if samples is not None:
            terms = [sample_term(term, samples[0], opened.keys, samples[1]) for term in terms]
            tower, run = tower_of(opened, made_with), replace(opened.run, engine=None)
        elif known is not None and torchless(terms, *known):
            tower, run = known
        else:
            tower, run = tower_of(opened, made_with), opened.run
        answer = ask(
            folder, terms, tower, run, k=top, weights=weights, where=where or (), exact=exact or None,
            at_least=at_least,
        )  # fmt: skip
    if html is not None:
        from diptych.tasks.pages.search_page import html as page

        write_whole(html, page(answer), overwrite=shared.overwrite)
    if shared.json:
        show_json(answer.as_dict())
    else:
        shares = [f"{p:.2f} right  " for p in answer.cut.shares] if answer.cut else [""] * len(answer.found)
        for f, share in zip(answer.found, shares, strict=True):
            caption = f"  {one_line(f.entry.caption[:60])}" if f.entry.caption else ""
            show(f"{f.score:.3f}  {share}{one_line(f.entry.name)}{caption}")
    if answer.cut is not None:
        cut = answer.cut.cut
        say(
            f"Above this cut {promise(cut.share, (cut.low, cut.high))} ({cut.above} of {cut.marks} answers to "
            f"{cut.queries} queries, marked by {answer.cut.source}). {answer.cut.absent}"
        )
    if answer.recall is not None:
        say(
            f"approximate: measured recall@10 {min(answer.recall.values()):.3f}; --exact looks at all "
            f"{answer.entries:,}"
        )
    if not answer.found:
        say(answer.nothing)
    if html is not None:
        say(f"The page is {html}")
