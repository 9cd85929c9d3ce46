"""The card of a system: its paper, needs, differences and proof plan as typed data.

The docs, the gallery, boards and ``diptych systems`` are built from cards and results. A card is prose that people
edit, so it is a TOML file beside the module of its system, with the fields below as keys.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from diptych.core.data import ColumnKind
from diptych.core.errors import DataError
from diptych.core.ranges import Range, above, at_least, between

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


def _like(words: str, pattern: str) -> Range:
    return Range(words, lambda text: re.fullmatch(pattern, text) is not None)


Words = Annotated[str, Range("a text that is not empty", bool)]
Address = Annotated[str, _like("an address that begins with https://", r"https://\S+")]
Slug = Annotated[str, _like("lower-case words joined by dashes", r"[a-z0-9]+(-[a-z0-9]+)*")]
_FINITE = Range("a finite number", math.isfinite)
_NOTHING = "None"
"""How a setting of a row says None, since TOML has no null."""


@dataclass(frozen=True)
class Headline:
    """One published number.

    Args:
        dataset, backbone, metric: as the paper names them.
        value: in the metric's unit (percent for accuracies).
        baseline: the compared system with its value; "" if none.
        where: table, log or file with the number.
    """

    dataset: Words
    backbone: Words
    metric: Words
    value: Annotated[float, _FINITE]
    baseline: str = ""
    where: str = ""


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

    url: Address
    commit: str = ""
    licence: str = ""


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

    claim: Words
    control: Words
    datasets: tuple[str, ...]
    seeds: Annotated[int, at_least(3)] = 5
    stage: ProofStage = "reduced"
    minutes: Annotated[float, _FINITE, above(0)] = 1.0
    backbone: Words = "lite"
    not_shown: str = ""


@dataclass(frozen=True)
class Published:
    """The authors' configuration, as far as it was read.

    Args:
        settings: of the system, by name ("layout.width" is the field of a field): what ``--set published`` takes.
        training: numbers that the verb takes and not the system, by the flag of ``finetune`` or ``pretrain``.
        weights: the model that it starts from.
        data: what it is trained on.
        hardware: what the authors had, and for how long; "" if not stated.
        absent: published choices that nothing here holds; one entry each.
        where: file or section in which the numbers were read.
    """

    weights: Words
    data: Words
    where: Words
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    hardware: str = ""
    absent: tuple[str, ...] = ()


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
        published: the authors' configuration, of systems that train.
        differs: where paper, released code and we differ, and why; one entry each.
        baseline: True for the systems that the others are compared with.
        variants: rows on the board: label suffix -> constructor arguments; {"": {}} is the default row.
        row_proofs: row -> its proof plan, where a row makes a claim of its own; "diptych prove SLUG:ROW" runs it.
        licence_note: note on licences for users; "" if none.
        released: where there is no table of released files (``assets/released``), why: that the authors have published
            no weights, or that there is nothing to publish; "" where there is a table.
        draws: what the seed decides, such as "which cells are remembered"; "" where no seed changes anything; None: the
            first weights and batches of what it trains, if it trains something.
        slow: whether a fit on some hundred items takes a core longer than ten seconds, although no training loop runs;
            comparisons of quick systems leave it out.
        offers: what a fitted classifier offers beside scores: "reasons" (``explain``), or, in its ``transferable``
            form, "other classes" (``for_classes``).
    """

    slug: Slug
    name: Words
    title: Words
    url: Address
    year: Annotated[int, between(1950, 2100)]
    verb: Verb
    claim: Words
    needs: Needs
    trains: Words
    headlines: tuple[Headline, ...] = ()
    reference: Reference | None = None
    published: Published | None = None
    differs: tuple[str, ...] = ()
    proof: ProofPlan | None = None
    baseline: bool = False
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    row_proofs: Mapping[str, ProofPlan] = field(default_factory=dict)
    licence_note: str = ""
    released: str = ""
    slow: bool = False
    offers: tuple[Offer, ...] = ()
    draws: str | None = None

    @property
    def seeded(self) -> bool:
        """Whether another seed gives another fit: then boards and proofs fit once per seed, else once."""
        return self.trains != "nothing" if self.draws is None else bool(self.draws)

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read a card: a TOML file whose keys are the fields of this class and of those inside it.

        The lines of a text become one paragraph. In the settings of ``variants`` texts stay as they are, lists become
        tuples, and "None" is None.

        Raises:
            DataError: the file is no TOML, or a field is unknown, missing, of another type or out of its range.
            FileNotFoundError: there is no such file.
        """
        import tomllib

        from diptych.core.plain import build

        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is no TOML: {error}.") from None
        card = build(cls, {"needs": {}, **data}, str(path))
        rows = {row: _settings(given) for row, given in card.variants.items()}
        if (published := card.published) is not None:
            published = replace(published, settings=_settings(published.settings))
        return replace(card, variants=rows, published=published)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the built index."""
        return asdict(self)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    def value(plain: Any) -> Any:
        if isinstance(plain, list):
            return tuple(map(value, plain))
        return None if plain == _NOTHING else plain

    return {name: value(plain) for name, plain in given.items()}


class CardBeside:
    """Attribute of a class: the card in a file beside its module, read when it is first asked for.

    Args:
        path: the TOML file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._card: Card | None = None

    def __get__(self, instance: object, owner: type) -> Card:
        """Return the card.

        Raises:
            DataError: as for ``Card.read``, or a row sets what is no parameter of the class.
        """
        if self._card is None:
            card = Card.read(self._path)
            known = [f.name for f in fields(owner)] if is_dataclass(owner) else []
            for row, given in card.variants.items():
                for name in given:
                    if known and name not in known:
                        (near,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                        raise DataError(
                            f"{self._path}: variants.{row or repr(row)} sets {name}, which is no parameter of "
                            f"{owner.__name__}; the nearest is {near}."
                        )
            self._card = card
        return self._card
