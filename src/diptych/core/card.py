"""The card of a system: its paper, needs, differences and proof plan as typed data.

The docs, the gallery, boards and ``diptych systems`` are built from cards and results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from diptych.core.data import ColumnKind

Hook = Literal["image", "text", "tower:image", "tower:text", "dense", "rebuild"]
EvidenceField = Literal["train", "val", "unlabelled", "texts", "other_classes", "auxiliary"]
Verb = Literal[
    "classify",
    "detect",
    "segment",
    "pretrain",
    "finetune",
    "extend",
    "retrieve",
    "caption",
    "edit",
    "rewrite",
    "curate",
    "audit",
]
Offer = Literal["reasons", "other classes"]
ProofStage = Literal["mechanism", "reduced", "faithful"]


@dataclass(frozen=True)
class Headline:
    """One published number.

    Args:
        dataset, backbone, metric: as the paper names them.
        value: in the metric's unit (percent for accuracies).
        baseline: the compared system with its value; "" if none.
        where: table, log or file with the number.
    """

    dataset: str
    backbone: str
    metric: str
    value: float
    baseline: str
    where: str


Published: TypeAlias = tuple[str, str, str, float] | tuple[str, str, str, float, str]
"""(dataset, backbone, metric, value), or these and the baseline; see ``Headline``."""


def headlines(where: str, *rows: Published) -> tuple[Headline, ...]:
    """Return the published numbers of one place."""
    return tuple(Headline(*row[:4], "".join(row[4:]), where) for row in rows)


@dataclass(frozen=True)
class Needs:
    """What a system needs.

    Args:
        hooks: inner access to the backbone.
        parts: kit parts besides the backbone, by interface name.
        extras: optional dependencies, by extra name.
        evidence: fields of Evidence that fit reads and must have.
        optional: fields of Evidence that fit reads where given.
        optional_parts: kit parts, by interface name, that it uses where given.
        columns: kinds of columns that it reads in rows of images and captions, beside these.
    """

    hooks: tuple[Hook, ...] = ("image", "text")
    parts: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    evidence: tuple[EvidenceField, ...] = ()
    optional: tuple[EvidenceField, ...] = ()
    optional_parts: tuple[str, ...] = ()
    columns: tuple[ColumnKind, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The authors' code, if it was read.

    Args:
        url: repository.
        commit: short hash of the version that was read; "" if not read.
        licence: as stated; "none found" where there is no licence file.
    """

    url: str
    commit: str
    licence: str


@dataclass(frozen=True)
class ProofPlan:
    """What ``diptych prove`` must show.

    Args:
        claim: the effect, in one sentence.
        control: the altered system that must not show the effect, in one sentence.
        seeds: least number of seeds; 3 only where the field's protocol fixes them.
        stage: the stage to reach, "mechanism", "reduced" or "faithful"; the stage reached is in the written result.
        minutes: approximate duration on two cores.
        backbone: name of the one on which the claim is made where none is asked for.
        not_shown: where the written result is not shown, why, in about five words: "backbone: ", "protocol: " or
            "paper: ", and what about it, or "unknown" where no evidence supports one of them. It is a judgement of the
            result and no result itself.
    """

    claim: str
    control: str
    datasets: tuple[str, ...]
    seeds: int = 5
    stage: ProofStage = "reduced"
    minutes: float = 1.0
    backbone: str = "lite"
    not_shown: str = ""


@dataclass(frozen=True)
class Card:
    """The identity card of a system.

    Args:
        slug: the file's stem with dashes.
        name: the paper's spelling of the system.
        title, url, year: of the paper.
        verb: what the system does; also its folder.
        claim: the paper's claim, in one sentence.
        needs: hooks, parts, extras and evidence that it needs.
        trains: what it trains: "nothing", "cache keys", "context vectors", ...
        headlines: published numbers.
        reference: the authors' code.
        differs: where paper, released code and we differ, and why; one entry each.
        baseline: True for the systems that the others are compared with.
        variants: rows on the board: label suffix -> constructor arguments; {"": {}} is the default row.
        row_proofs: row -> its proof plan, where a row makes a claim of its own; "diptych prove SLUG:ROW" runs it.
        licence_note: note on licences for users; "" if none.
        offers: what a fitted classifier offers beside scores: "reasons" (``explain``), or, in its ``transferable``
            form, "other classes" (``for_classes``).
    """

    slug: str
    name: str
    title: str
    url: str
    year: int
    verb: Verb
    claim: str
    needs: Needs
    trains: str
    headlines: tuple[Headline, ...] = ()
    reference: Reference | None = None
    differs: tuple[str, ...] = ()
    proof: ProofPlan | None = None
    baseline: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    row_proofs: Mapping[str, ProofPlan] = field(default_factory=dict)
    licence_note: str = ""
    offers: tuple[Offer, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the built index."""
        return asdict(self)
