"""Do these descriptions help? The same system with its own texts, with those of other classes, and with random words.

A text can raise accuracy for reasons that have nothing to do with what it says: more prompts average better than one, whatever they say
(Roth et al. 2023, "Waffling around for Performance"). So texts help only where they beat the plain names AND random words of the same
length AND the texts of other classes.

A text that holds the name of its class, as those of pairs do ("A photo of a dress with a wide hem"), keeps it in both controls:
without the name, or with that of another class, any system fails, whatever its texts say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import catalog
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Evidence, Table, Text, TextPool
from diptych.core.errors import DiptychError, UsageError
from diptych.core.kit import Kit
from diptych.core.method import Classifier
from diptych.core.run import Run
from diptych.data.classnames import tidy
from diptych.data.labelled import LabelledData
from diptych.data.pools import VERSUS, Pool
from diptych.data.templates import ENSEMBLE
from diptych.metrics.interval import Interval, bootstrap_mean, paired_bootstrap, paired_p
from diptych.metrics.significance import holm
from diptych.tasks.classify import with_store
from diptych.tasks.episodes import episode, measured, readable
from diptych.tasks.outcome import Outcome
from diptych.tasks.proofs.classify import shuffled_names
from diptych.tasks.record import circumstances, plain

OWN, NAMES, SWAPPED, RANDOM = "own texts", "names only", "texts of other classes", "random words"
LEVEL = 0.05
_OLD, _NEW = "\0", "\1"
"""Stand where a name stood, until both names are found: signs that no name holds."""
_MARK = re.compile(f"(?:\\b(?P<article>an?) )?(?P<was>[{_OLD}{_NEW}])", re.IGNORECASE)


@dataclass(frozen=True)
class Against:
    """The own texts compared with something else.

    Args:
        other: what it is.
        accuracy: top-1 of the other, with its interval.
        gain: of the own texts over it.
        p: two-sided, corrected by Holm over the comparisons of the system.
    """

    other: str
    accuracy: Interval
    gain: Interval
    p: float

    @property
    def better(self) -> bool:
        """Whether the own texts are better, beyond chance."""
        return self.gain.value > 0 and self.p < LEVEL


@dataclass(frozen=True)
class Ablated:
    """One system.

    Args:
        label, method, variant: which.
        accuracy: with its own texts.
        against: names only, texts of other classes, random words.
    """

    label: str
    method: str
    variant: str
    accuracy: Interval
    against: tuple[Against, ...]

    @property
    def verdict(self) -> str:
        """One sentence."""
        better = {a.other for a in self.against if a.better}
        if len(better) == len(self.against):
            return "These descriptions help: they beat the names, other classes' texts and random words."
        if NAMES in better:
            equal = " and ".join(a.other for a in self.against if a.other not in better)
            return f"The gain over the names is not shown to come from what these descriptions say: {equal} do about as well."
        worse = next((a for a in self.against if a.other == NAMES and a.gain.value < 0 and a.p < LEVEL), None)
        return "These descriptions hurt: the names alone are better." if worse else "These descriptions are not shown to help."


@dataclass(frozen=True)
class Ablation:
    """The answer for one data set and one pool.

    Args:
        rows: one a system and variant.
        missing: row label -> why it could not run.
        facts: data, pool, backbone, protocol, versions.
    """

    rows: tuple[Ablated, ...]
    missing: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [
            {
                **{name: getattr(row, name) for name in ("label", "method", "variant", "verdict")},
                "acc1": _plain(row.accuracy),
                "against": [
                    {"other": a.other, "acc1": _plain(a.accuracy), "gain": _plain(a.gain), "p_holm": a.p, "better": a.better}
                    for a in row.against
                ],
            }
            for row in self.rows
        ]
        found: dict[str, Any] = plain({"kind": "ablation", **self.facts, "rows": rows, "missing": self.missing})
        return found


def ablate(
    data: LabelledData,
    pool: Pool,
    backbone: Backbone,
    run: Run,
    *,
    methods: Sequence[str] | None = None,
    classes: ClassNames | None = None,
    shots: int = 16,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    command: str = "",
) -> Ablation:
    """Measure systems that read texts with the pool, and with two pools that say nothing about the classes.

    Args:
        data: with test (or val); with train for systems that learn too.
        pool: descriptions of the classes.
        backbone: for all.
        run: device, cache and progress.
        methods: slugs; None: all classifiers that need texts.
        classes: names and templates; None: tidied folder names in the ensemble of seven templates.
        shots: train items a class, for systems that learn.
        seeds: of draws, swaps and random words.
        command: the command line that repeats it.

    Raises:
        UsageError: no seed, another number of names than classes, or a method that reads no texts.
        DataError: nothing can be measured.
    """
    if not seeds:
        raise UsageError("Give at least one seed, such as 1,2,3,4,5.")
    names = classes or ClassNames(tuple(tidy(c) for c in data.classes) or ("",), tuple(ENSEMBLE))
    if len(names) != len(data.classes):
        raise UsageError(f"There are {len(names)} names for {len(data.classes)} classes: give one name a class.")
    readers = [c["slug"] for c in catalog.cards() if c["verb"] == "classify" and "texts" in c["needs"]["evidence"]]
    for slug in methods or ():
        if slug not in readers:
            raise UsageError(f"{slug} does not live on descriptions: choose from {', '.join(readers)}.")
    rows: list[Ablated] = []
    missing: dict[str, str] = {}
    with with_store(run) as stored:
        test, failed = readable(data.splits[measured(data)], backbone, stored)
        bench = _Bench(data, test, names, backbone, stored, tuple(seeds), shots)
        plan = [(slug, variant) for slug in (methods or readers) for variant in catalog.find(slug).card.variants]
        with stored.track("ablate", len(plan)) as bar:
            for slug, variant in plan:
                card = catalog.find(slug).card
                label = f"{card.name}, {variant}" if variant else card.name
                try:
                    rows.append(bench.row(label, slug, variant, pool))
                except DiptychError as error:
                    missing[label] = str(error)
                bar.advance()
    facts = {
        "dataset": data.name,
        "items": len(test),
        "classes": names.names,
        "texts": pool.as_dict(),
        "shots": shots,
        "seeds": list(seeds),
        **circumstances(backbone, run, command),
        "skipped": [str(e) for e in failed],
    }
    return Ablation(tuple(rows), missing, facts)


def random_texts(pool: TextPool, seed: int) -> TextPool:
    """Return a pool of the same keys and lengths whose words are drawn from all words of the pool.

    Where a text holds the name of its class, the name stays in its place, the other words are drawn from those that are no name, and
    the text becomes the same words wherever the class has it, so that a class keeps its number of distinct texts.

    Args:
        pool: lists and pairs.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    words = sorted({word for texts in pool.texts.values() for text in texts for word in text.value.split()})
    named = {part.casefold() for key in pool.texts for name in key.split(VERSUS) for part in name.split()}
    others = [word for word in words if named.isdisjoint(_stems(word))] or words
    made: dict[tuple[str, str], Text] = {}

    def said(source: Sequence[str], count: int) -> str:
        return " ".join(source[i] for i in rng.integers(len(source), size=count))

    def drawn(own: str, text: Text) -> Text:
        pieces = _name(own, r"\S*").split(text.value)  # the odd ones hold the name
        if len(pieces) == 1:
            return Text(said(words, len(text.value.split())), writer="random words")
        if (own, text.value) not in made:
            filled = [piece if n % 2 else said(others, len(piece.split())) for n, piece in enumerate(pieces)]
            made[own, text.value] = Text(" ".join(filter(None, filled)), writer="random words")
        return made[own, text.value]

    return TextPool({key: tuple(drawn(key.split(VERSUS)[0], text) for text in texts) for key, texts in pool.texts.items()})


def swapped_texts(classes: ClassNames, pool: TextPool, run: Run) -> TextPool:
    """Return a pool in which every class has the texts of another one, under its own name.

    Lists move along one random cycle, where every class has one; the two sides of a pair change places. Where a text holds the name of
    its class, the names of the two classes change places in it, so that the name stays and what is said of it is wrong. Texts of the
    same class for its other rivals are no such control: a system that asks about all classes at once reads the same texts.

    Args:
        classes: whose lists move.
        pool: lists and pairs.
        run: gives the seed of the cycle.
    """
    held = pool.texts
    back = {key: VERSUS.join(reversed(key.split(VERSUS))) for key in held if VERSUS in key}
    sources = {key: other for key, other in back.items() if other in held}
    if all(name in held for name in classes):
        names, _ = shuffled_names(classes, Evidence(texts=pool), run)
        sources |= dict(zip(classes, names, strict=True))
    moved = {
        key: tuple(_renamed(text, source.split(VERSUS)[0], key.split(VERSUS)[0]) for text in held[source])
        for key, source in sources.items()
    }
    return TextPool({**held, **moved})


@dataclass(frozen=True)
class _Bench:
    """One data set: what each system hits with which texts."""

    data: LabelledData
    test: Table[Any]
    classes: ClassNames
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    shots: int

    def row(self, label: str, slug: str, variant: str, pool: Pool) -> Ablated:
        own = self.hits(slug, variant, pool.texts)
        seed = self.run.integer("bootstrap")
        others = {NAMES: self.hits("zero-shot", "ensemble", None)}
        for name in (SWAPPED, RANDOM):
            others[name] = self.hits(slug, variant, pool.texts, name)
        adjusted = holm([paired_p(own, other, seed) for other in others.values()])
        against = tuple(
            Against(name, bootstrap_mean(other, seed), paired_bootstrap(own, other, seed), p)
            for (name, other), p in zip(others.items(), adjusted, strict=True)
        )
        return Ablated(label, slug, variant, bootstrap_mean(own, seed), against)

    def hits(self, slug: str, variant: str, texts: TextPool | None, spoiled: str = "") -> NDArray[np.float64]:
        """Return (seeds, items) hits."""
        system = catalog.find(slug)
        if not issubclass(system, Classifier):
            raise UsageError(f"{slug} is no classifier.")
        method = system(**system.card.variants[variant])
        rows = []
        for seed in self.seeds:
            run = replace(self.run, seed=seed)
            evidence: Evidence[Any] = Evidence(texts=texts)
            if "train" in system.card.needs.evidence:
                drawn = episode(self.data, self.shots, run.integer("shots"), "coop", self.backbone, run)
                evidence = replace(evidence, train=drawn.train, val=drawn.val)
            if spoiled == SWAPPED and texts is not None:
                evidence = replace(evidence, texts=swapped_texts(self.classes, texts, run))
            elif spoiled == RANDOM and texts is not None:
                evidence = replace(evidence, texts=random_texts(texts, run.integer("random words")))
            fitted = method.fit(Kit({"main": self.backbone}), self.classes, evidence, run)
            rows.append(Outcome.of(fitted.scores(self.test.items, run), self.backbone, self.test.labels()).correct.astype(np.float64))
            if slug == "zero-shot":
                return np.broadcast_to(rows[0], (len(self.seeds), len(self.test)))
        return np.stack(rows)


@cache
def _name(name: str, around: str = "") -> re.Pattern[str]:
    """Return a pattern of the name, singular or plural, as a word of its own: "t-shirt" is no shirt."""
    return re.compile(rf"({around}(?<![\w-]){re.escape(name)}(?:e?s)?(?![\w-]){around})", re.IGNORECASE)


def _stems(word: str) -> tuple[str, ...]:
    plain = word.strip(".,;:!?()[]\"'").casefold()
    return plain, plain.removesuffix("s"), plain.removesuffix("es")


def _renamed(text: Text, old: str, new: str) -> Text:
    """Return a text of the class ``old`` as one of ``new``: the two names change places, each with the article that fits."""
    if not _name(old).search(text.value):
        return text
    value = text.value
    for name in sorted((old, new), key=len, reverse=True):  # "shirt" must not take "shirt dress" apart
        value = _name(name).sub(_OLD if name == old else _NEW, value)

    def other(found: re.Match[str]) -> str:
        name = new if found["was"] == _OLD else old
        article = found["article"]
        return f"{article[0]}{'n' if name[0].lower() in 'aeiou' else ''} {name}" if article else name

    return replace(text, value=_MARK.sub(other, value))


def _plain(interval: Interval) -> dict[str, Any]:
    return {"value": interval.value, "ci95": [interval.low, interval.high]}
