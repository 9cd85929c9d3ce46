"""LLM2CLIP gives a CLIP a language model as its text tower: tuned to tell captions apart, then frozen, with a small
trained adaptor behind it.

Stage 1, texts alone, trains low-rank adapters of the language model f:

    L = mean over i of -log( exp(s cos(q_i, d_i)) / (sum over j of exp(s cos(q_i, d_j)) + exp(s cos(q_i, n_j))) )

Stage 2 trains the image tower g and the adaptor A, f being frozen and its vectors computed once:

    L = CLIP's loss of normalise(g(x)) and normalise(A(f(t)))

q_i: vector of a caption of image i, read after an instruction;  d_i: of another caption of the same image
n_j: of a caption of another image, drawn for each row
f(t): mean of the last states of the tokens of t, which attend to all others; the instruction is not counted
A(e): n residual blocks on e / |e|, then a linear map to the joint space
s: scale of the cosines, 50
x, t: an image, and a caption of it that is drawn each time
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.text_vectors import TextVectors
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    DataError,
    Evidence,
    Kit,
    Learns,
    ParamGroup,
    Recipe,
    Row,
    Run,
    Table,
    Texts,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.core.train import Stage, everything
from diptych.data.evidence import training_rows
from diptych.features.embed import cut, embed
from diptych.features.frozen import side_names
from diptych.nn.contrastive import caption_contrast, contrastive
from diptych.train.adapters import Adapters, adapter_targets
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee

LANGUAGE = "language_model"
"""Name of the kit's part with the language model, a ``LanguageText``."""
Captions: TypeAlias = Sequence[tuple[str, ...]]
INSTRUCTION = "Find another description of the same picture: "


class CaptionTuning(Trainee):
    """Trains adapters of a copy of a language model to tell the captions of an image from those of others.

    Args:
        recipe: with rank, scale and instruction.
        language: the language model; stays as it is.
        captions: of each image, two or more, from which the captions of other images are drawn.
        run: seed and world.
    """

    def __init__(self, recipe: LLM2CLIP, language: LanguageText, captions: Captions, run: Run) -> None:
        self.recipe, self.captions, self.run = recipe, captions, run
        self.language = language.around(copy.deepcopy(language.network))
        network = self.language.network
        names = adapter_targets(network, lambda name: "lm_head" not in name)
        self.adapters = Adapters(
            network, names, recipe.rank, recipe.alpha, run, dropout=recipe.dropout, what="this language model"
        )
        self._module = nn.ModuleDict({"language": network})

    def module(self) -> nn.Module:
        """Return the language model with its adapters."""
        return self._module

    def groups(self) -> list[ParamGroup]:
        """Return the adapters, without weight decay."""
        return [ParamGroup(tuple(n for n, _ in self._module.named_parameters() if ".lora_" in n), decay=0.0)]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return two different captions of the row in random order, and one of another row."""
        captions, rows = self.captions[row.index], len(self.captions)
        first, second = torch.randperm(len(captions), generator=g)[:2].tolist()
        others = self.captions[(row.index + 1 + int(torch.randint(rows - 1, (), generator=g))) % rows]
        return {
            "query": captions[first],
            "same": captions[second],
            "other": others[int(torch.randint(len(others), (), generator=g))],
        }

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the token ids of each kind of text, and under "read" which of them are counted."""
        heads = {"query": self.recipe.instruction, "same": "", "other": ""}
        return {kind: self.language.read([v[kind] for v in views], head) for kind, head in heads.items()}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the loss as "captions"."""
        q, d, n = (normalize(self.language.encode(batch[kind]), dim=-1) for kind in ("query", "same", "other"))
        together = gather(self.run.world)
        first = self.run.world.rank * len(q)
        return {"captions": caption_contrast(q, together(d), together(n), self.recipe.scale, first)}

    def tuned(self) -> LanguageText:
        """Return the language model with its adapters merged."""
        return self.language.around(self.adapters.merged().requires_grad_(False).eval())


class _Adapted(PairTrainee):
    """Trains the image encoder, the scale and the adaptor of a space with a language model."""

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return CLIP's loss as "contrastive"."""
        return {"contrastive": contrastive(self.embed(batch), ("image", "text"))}


@dataclass(frozen=True)
class LLM2CLIP(Recipe):
    """Train a CLIP whose texts are read by a language model.

    Use it for long captions, or texts in languages that the backbone's own text tower does not read. The rows need two
    or more captions each, such as a short and a long one; the kit's part "language_model" is a causal language model.

    Args:
        tune: whether stage 1 is run; True. False takes the language model as it is.
        rate: learning rate of stage 1, > 0; 2e-4 (the authors').
        steps: steps of stage 1, >= 1; None (default): as many as stage 2 has.
        rank: of the adapters, >= 1; 16 (the authors').
        alpha: the change is scaled by alpha / rank, > 0; 16.0 (the authors').
        dropout: on the inputs of the adapters, in [0, 1); 0.05 (the authors').
        scale: s, > 0; 50.0 (the authors').
        blocks: n, >= 0; 4 (the authors').
        instruction: words before the first caption of a pair in stage 1 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Huang et al. 2024, sections 3.1 and 3.2.

    Example:
        >>> LLM2CLIP(tune=False).blocks
        4
    """

    weighs: ClassVar[bool] = False  # a row's captions are pairs of the tuning
    tune: bool = True
    rate: float = 2e-4
    steps: int | None = None
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.05
    scale: float = 50.0
    blocks: int = 4
    instruction: str = INSTRUCTION

    def __post_init__(self) -> None:
        check(self, above(0), "rate", "alpha", "scale")
        check(self, at_least(1), "steps", "rank")
        check(self, between(0, 1, "[)"), "dropout")
        check(self, at_least(0), "blocks")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Yield stage 1 on the captions, then stage 2 on the rows.

        Raises:
            MissingPart: the kit has no backbone, or no "language_model".
            MissingEvidence: there are no training rows.
            DataError: the rows have no captions, or one has fewer than two where they are needed.
            MissingExtra: peft is not installed.
        """
        base, language = kit.need(Backbone), kit.need(LanguageText, LANGUAGE)
        train = training_rows(evidence, "llm2clip")
        captions = captions_of(train)
        if self.tune:
            _check_pairs(train, captions)
            seen = self.seen(captions, run)
            stage = self.tuning(language, seen, run)
            table = Table(Texts(tuple(texts_of[0] for texts_of in seen)))
            fit = {"lr": self.rate, **({} if self.steps is None else {"steps": self.steps})}
            yield Stage(stage, data=table, fit=fit)
            language = stage.tuned()
        with run.seeded("adaptor"):
            adaptor = Adaptor(language.dim, base.spec.dim, self.blocks)
        texts = dict.fromkeys(t for texts_of in (*captions, *captions_of(evidence.val)) for t in texts_of)
        known = TextVectors(language.dim)
        for part in cut(Texts(tuple(texts))):  # all vectors at once may not fit in memory
            known.add([part[i] for i in range(len(part))], embed(language, part, run))
        space = LanguageSpace(base, language, adaptor, known)
        yield _Adapted(space, None, run, learns=_learns(base, learns))

    def seen(self, captions: Captions, run: Run) -> Captions:
        """Return the captions of each image that stage 1 sees: all as they are."""
        return captions

    def tuning(self, language: LanguageText, captions: Captions, run: Run) -> CaptionTuning:
        """Return stage 1 on captions."""
        return CaptionTuning(self, language, captions, run)


def _check_pairs(rows: Table[Any], captions: Captions) -> None:
    short = next((i for i, group in enumerate(captions) if len(group) < 2), None)
    if short is not None or len(captions) < 2:
        name = rows.items.name(short or 0)
        raise DataError(
            f"{name} has fewer than two captions, and the language model is tuned on pairs of them: add one, or take "
            f"{{variant}} untuned."
        )


def captions_of(rows: Table[Any] | None) -> Captions:
    """Return the captions of each row; () without rows.

    Raises:
        DataError: the rows have no captions.
    """
    if rows is None:
        return ()
    if "captions" not in rows.columns:
        raise DataError("llm2clip trains on captions, and the rows have none: give a column 'caption'.")
    return tuple(
        (captions,) if isinstance(captions, str) else tuple(captions) for captions in rows.columns["captions"].values
    )


def _learns(base: Backbone, learns: Learns) -> Learns:
    """Return which parameters of a ``LanguageSpace`` are trained: adaptor, image encoder and scale."""
    of_image = side_names(base, "image")

    def chosen(name: str) -> bool:
        inner = name.removeprefix("base.")
        if inner == name:
            return True
        return (inner in of_image or inner.rsplit(".", 1)[-1] in ("logit_scale", "logit_bias")) and learns(inner)

    return chosen
