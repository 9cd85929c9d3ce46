"""What an audit promises: findings about the models that were given, or scores of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from diptych.core import (
    AuditData,
    Auditor,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Finding,
    FittedPairScorer,
    Kit,
    PairScorer,
    PairScores,
    Probe,
    Run,
    Subject,
    Table,
    Text,
    TextPool,
)
from diptych.core.findings import EXAMPLES
from diptych.data.edits import edit_table
from diptych.testing.exam import Exam, Fitting
from diptych.testing.pictures import NAMES, Pictures, picture
from diptych.testing.promise import faults, plain, require
from diptych.testing.samples import PHOTOS, SENTENCES, captioned

COUNT = len(PHOTOS)


def audited() -> AuditData:
    """Return one table of each role: 24 pictures with every column that an audit may read."""
    labels, groups = np.arange(COUNT) % 4, np.array([f"g{i // 4 % 2}" for i in range(COUNT)])
    captions = Column("captions", tuple((SENTENCES[i % 4],) for i in range(COUNT)))
    hues = Column("group", np.array(NAMES)[labels])
    columns = {"label": Column("label", labels), "group": Column("group", groups), "captions": captions}
    table = Table(PHOTOS, {**columns, "attribute": hues})
    twos = Column("group", np.array([f"pair {i // 2}" for i in range(COUNT)]))
    names = ClassNames(NAMES)
    other = Table(Pictures(tuple(picture(i % 4, 50 + i, 120.0) for i in range(COUNT))))
    return AuditData(
        {
            "plain": Probe(table, "id", names),
            "noisy": Probe(Table(other.items, table.columns), "shift", names),
            "other": Probe(other, "ood"),
            "shots": Probe(table.take(range(0, COUNT, 2)), "train", names),
            "twos": Probe(Table(PHOTOS, {"group": twos, "captions": captions}), "pairs"),
        }
    )


class AuditorExam(Exam):
    """A small CLIP, and tables of every role."""

    role = Auditor
    saves = False  # an auditor holds nothing that was fitted
    hookless = False
    clip = True

    @cached_property
    def data(self) -> AuditData:
        """The tables."""
        return audited()

    @property
    def material(self) -> Any:
        """The tables."""
        return self.data

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Kit:
        """Return the kit: nothing is fitted."""
        return kit

    def fitted_on(self, kit: Kit, evidence: Evidence[Any]) -> Any:
        """Return the findings about the model of a kit."""
        return self.answer(kit, self.run())

    def answer(self, fitted: Kit, run: Run) -> list[Finding]:
        """Return the findings about one model."""
        findings: list[Finding] = self.make().audit({"one": Subject(fitted)}, self.data, run)
        return findings

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where something else than findings is returned, or none."""
        findings = fitting.answer
        require(bool(findings), "there is no finding, not even one that is not testable")
        require(all(isinstance(f, Finding) for f in findings), "what is returned are no findings")

    def findings_are_about_the_models_and_their_items(self) -> None:
        """Findings name each model, measures are identifiers, values lie in their intervals, examples are items."""
        method, subjects = self.make(), {"one": Subject.of(self.backbone), "two": Subject.of(self.backbone)}
        require(method.lacks(subjects, self.data) == "", f"the data have every table, and it lacks something: "
                f"{method.lacks(subjects, self.data)}")  # fmt: skip
        findings = method.audit(subjects, self.data, self.run())
        require({f.subject for f in findings} == set(subjects), "the findings are not about the models that were given")
        keys = {n: {p.table.items.key(i) for i in range(len(p.table))} for n, p in self.data.probes.items()}
        for f in findings:
            inside = f.interval is None or f.value is None or f.interval[0] - 1e-6 <= f.value <= f.interval[1] + 1e-6
            faults(
                (len(f.examples) <= EXAMPLES, f"{f.measure} has {len(f.examples)} examples, more than {EXAMPLES}"),
                (all(e.key in keys[e.probe] for e in f.examples), f"an example of {f.measure} is no item of its table"),
                (f.measure.isidentifier(), f"the measure {f.measure!r} is no identifier"),
                (f.count is None or f.count >= 0, f"the count of {f.measure} is negative"),
                (inside, f"the value of {f.measure} is outside its interval"),
            )

    def missing_tables_are_named_before_anything_is_encoded(self) -> None:
        """Without tables, ``audit`` raises DataError with the sentence of ``lacks``."""
        method, subjects = self.make(), {"one": Subject.of(self.backbone)}
        lack = method.lacks(subjects, AuditData())
        if lack:  # else this audit makes its own data
            error = self.refuses(lambda: method.audit(subjects, AuditData(), self.run()), DataError, "tables")
            require(str(error) == lack, f"audit says {str(error)!r}, and lacks says {lack!r}")

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of auditors."""
        return [
            self.findings_are_about_the_models_and_their_items,
            self.missing_tables_are_named_before_anything_is_encoded,
        ]

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked."""
        return [self.same_seed_same_bits, self.global_state_is_untouched, self.inputs_are_not_written]


class PairScorerExam(Exam):
    """24 pictures with captions, or with edits of them, as ``reads`` of the class says, and a small CLIP."""

    role = PairScorer
    hookless = False
    clip = True

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Sentences, and pictures with captions."""
        return Evidence(train=captioned(), texts=TextPool({"": tuple(map(Text, SENTENCES))}))

    @cached_property
    def pairs(self) -> Table[Any]:
        """The pairs, with the columns that the scorer reads."""
        texts = [SENTENCES[i % 4] for i in range(COUNT)]
        if self.system.reads == "edits":  # type: ignore[attr-defined]
            lists = [[f"the colour of {t}", "a picture"] for t in texts]
            return edit_table(PHOTOS, PHOTOS, texts, lists, [*lists[1:], lists[0]])
        return Table(PHOTOS, {"captions": Column("captions", tuple((t,) for t in texts))})

    @property
    def material(self) -> Any:
        """The evidence and the pairs."""
        return self.evidence, self.pairs

    def answer(self, fitted: FittedPairScorer, run: Run) -> PairScores:
        """Return the scores of the pairs."""
        return fitted.score(self.pairs, run)

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where scores are not finite (N,) float32 on the CPU, or parts are no stretches of their texts."""
        scores: PairScores = fitting.answer
        faults(
            (tuple(scores.values.shape) == (COUNT,), f"scores are {tuple(scores.values.shape)}, not {(COUNT,)}"),
            *plain(scores.values),
            (len(scores.parts) in (0, COUNT), f"there are parts of {len(scores.parts)} pairs, and {COUNT} pairs"),
            (all(len(c) == COUNT for c in scores.columns.values()), "a column has not one number per pair"),
        )
        texts = self.pairs.columns["captions"].values if "captions" in self.pairs.columns else ()
        for (text, *_), parts in zip(texts, scores.parts, strict=False):
            for part in parts:
                require(text[part.start : part.end] == part.text, f"{part.text!r} is not what stands at its offsets")

    def apart(self, fitted: FittedPairScorer, run: Run) -> tuple[Any, Any]:
        """Return the scores of some pairs alone, and among the others."""
        rows = (0, 5, COUNT - 1)
        alone = [float(fitted.score(self.pairs.take([i]), run).values[0]) for i in rows]
        return alone, [float(self.first.answer.values[i]) for i in rows]

    def nothing(self, fitted: FittedPairScorer, run: Run) -> str:
        """Return what is wrong with the scores of no pairs."""
        scores = fitted.score(self.pairs.take([]), run)
        if tuple(scores.values.shape) != (0,) or scores.parts != ():
            return f"scores have the shape {tuple(scores.values.shape)} and {len(scores.parts)} parts"
        full = [name for name, column in scores.columns.items() if len(column)]
        return f"the column {full[0]} has numbers" if full else ""

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked."""
        return [self.same_seed_same_bits, self.global_state_is_untouched, self.inputs_are_not_written]


EXAMS: Mapping[type[Any], type[Exam]] = {Auditor: AuditorExam, PairScorer: PairScorerExam}
"""Role -> its exam."""
