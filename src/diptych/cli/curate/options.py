"""Options of ``diptych curate``: how a pool is read, what is looked for in it, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from diptych.cli import flag_values, options
from diptych.tasks.defaults import DEFAULTS

CURATOR, SCORE_CURATOR, LABEL_CURATOR, SLIDE_CURATOR, DUPLICATE_CURATOR, HEAD_CURATOR, TEXT_CURATOR = (
    DEFAULTS[f"curate{case}"] for case in ("", " scores", " labels", " slides", " duplicates", " head", " texts")
)
"""What scores pairs, clusters, slides, duplicates, vectors and texts, by the defaults."""
Metadata = Annotated[
    str, options.option("--metadata", help=f"wordnet, a JSON list, or a file with one entry per line; for {CURATOR}.")
]
_METHODS = ", ".join((CURATOR, SCORE_CURATOR, TEXT_CURATOR, DUPLICATE_CURATOR, HEAD_CURATOR, LABEL_CURATOR))
POOL = ".txt with one text per line, .csv, .tsv, tars, Parquet, articles in JATS XML, or slides."


@dataclass(frozen=True)
class PoolOptions:
    """How a pool is read, and by which system."""

    method: Annotated[str, options.option("--method", "-m", help=f"{_METHODS} or {SLIDE_CURATOR}.")] = CURATOR
    metadata: Metadata = "wordnet"
    image: Annotated[
        str, options.option("--image", help="Column with the picture (default: filepath, path, image).")
    ] = ""
    text: Annotated[str, options.option("--text", help="Column with the text (default: title, caption, text).")] = ""
    head: Annotated[str, options.option("--head", help=f"Safetensors file of a head; for {HEAD_CURATOR}.")] = ""
    mirror: Annotated[
        bool, options.option("--mirror", help=f"Compare with mirror images too; for {DUPLICATE_CURATOR}.")
    ] = False
    phrases: Annotated[
        str, options.option("--phrases", help=f"File of forbidden phrases, one per line; for {TEXT_CURATOR}.")
    ] = ""
    least_words: Annotated[
        int, options.option("--least-words", help=f"Least number of words of a text; for {TEXT_CURATOR}.", min=0)
    ] = 3

    @property
    def settings(self) -> dict[str, Any]:
        """What the systems take of it, in both passes."""
        return {name: getattr(self, name) for name in ("metadata", "head", "mirror", "phrases", "least_words")}


@dataclass(frozen=True)
class PlanOptions:
    """What is looked for in a pool of pictures."""

    clusters: Annotated[
        int, options.option("--clusters", help=f"Clusters of pictures; for {LABEL_CURATOR}.", min=1)
    ] = 2000
    components: Annotated[
        int, options.option("--components", help=f"Principal components; for {LABEL_CURATOR}.", min=1)
    ] = 25
    sample: Annotated[
        int, options.option("--sample", help=f"Pictures that clusters are made from; for {LABEL_CURATOR}.", min=1)
    ] = 100_000
    attributes: Annotated[
        str, options.option("--attributes", help=f"File of phrases to look for, one per line; for {SLIDE_CURATOR}.")
    ] = ""
    top: Annotated[
        int,
        options.option("--top", help=f"Tiles per slide by attributes, and by findings; for {SLIDE_CURATOR}.", min=0),
    ] = 64
    sampled: Annotated[
        int, options.option("--sampled", help=f"Tiles per slide by clusters; for {SLIDE_CURATOR}.", min=0)
    ] = 256


@dataclass(frozen=True)
class KeepOptions:
    """What is kept, and who writes captions."""

    votes: Annotated[
        str, options.option("--votes", help=f"Table of labels that people gave to looks; for {LABEL_CURATOR}.")
    ] = ""
    taxonomy: Annotated[
        str, options.option("--taxonomy", help=f"JSON of wide labels and narrower ones; for {LABEL_CURATOR}.")
    ] = ""
    only: Annotated[
        list[str] | None, options.option("--only", help="Keep pairs of this label; repeat for several.")
    ] = None
    drop: Annotated[
        list[str] | None, options.option("--drop", help="Keep no pair of this label; repeat for several.")
    ] = None
    most: Annotated[
        float, options.option("--most", help=f"Pairs that a label may keep, by estimate; for {LABEL_CURATOR}.")
    ] = float("inf")
    eps: Annotated[
        float,
        options.option("--eps", help=f"Duplicates have a cosine of at least 1 minus this; for {DUPLICATE_CURATOR}."),
    ] = 0.05
    prefer: Annotated[
        str,
        options.option(
            "--prefer", help=f"Which of a group of duplicates stays: hard, easy or random; for {DUPLICATE_CURATOR}."
        ),
    ] = "hard"
    cells: Annotated[
        int | None,
        options.option("--cells", help=f"Cells that are searched separately; for {DUPLICATE_CURATOR}.", min=1),
    ] = None
    rule: Annotated[
        str,
        options.option("--rule", help=f"What makes duplicates: vector, hash, both or either; for {DUPLICATE_CURATOR}."),
    ] = "vector"
    bits: Annotated[
        int, options.option("--bits", help=f"Bits in which hashes of duplicates may differ; for {DUPLICATE_CURATOR}.")
    ] = 10
    precision: Annotated[
        float | None,
        options.option(
            "--precision",
            help=f"Keep pairs above the threshold at which this share is right; for {HEAD_CURATOR}.",
        ),
    ] = None
    below: Annotated[bool, options.option("--below", help=f"Keep low scores; for {HEAD_CURATOR}.")] = False
    words: Annotated[int, options.option("--words", help=f"Words of a caption; for {SLIDE_CURATOR}.", min=1)] = 50
    agent: Annotated[
        list[str] | None,
        options.option(
            "--agent",
            help=f"MODEL@http://host/v1 for all agents of {SLIDE_CURATOR}, or describe=, revise=, judge= or shorten= "
            "before it for one; repeat.",
        ),
    ] = None
    agent_key: Annotated[str, options.option("--agent-key", help="Environment variable with the agents' API key.")] = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What the systems take of it.

        Raises:
            UsageError: --prefer is none of its words.
        """
        flag_values.one_of("--prefer", self.prefer, "hard", "easy", "random")
        lists = {"only": tuple(self.only or ()), "drop": tuple(self.drop or ())}
        names = ("votes", "taxonomy", "most", "words", "eps", "cells", "rule", "bits", "precision", "below")
        return {**lists, **{name: getattr(self, name) for name in names}, "keep": self.prefer}
