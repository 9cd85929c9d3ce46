"""UF-FGTG rewrites a short prompt into a long one that a text-to-image model draws well, and offers five.

    loss = L_img + 0.1 L_txt

    L_img = mean of |eps - eps(z_t, t, E(short))|^2            z_t = sqrt(a_t) z + sqrt(1 - a_t) eps
    L_txt = - mean over words i of log p(w_i | w_<i, adapter(E(short)))

    rewrites = diverse beam search in p: 5 beams in 5 groups, Hamming diversity 0.5

E: the text encoder, trained from the denoiser's own;  eps(...): the denoiser, frozen
z: latent of the picture that the long prompt belongs to;  eps: noise;  a_t: share of signal at step t
w: words of the long prompt;  p: the language model of ``nn.text.refiner``

So the tokens of the short prompt learn to lead to the picture of the long one, and the long one is written from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.diffusion.small import WHOLE, TextTokens
from diptych.core import (
    Ask,
    Backbone,
    Condition,
    DataError,
    Evidence,
    Kit,
    MissingHook,
    ParamGroup,
    Rewriter,
    Row,
    Run,
    Table,
    Text,
    TextDiffusion,
    TextReading,
    UsageError,
)
from diptych.core.ranges import above, at_least, check
from diptych.data.evidence import captioned_images
from diptych.features.networks import reached, twin_of
from diptych.features.strict_weights import load_tensors
from diptych.nn.diffusion.noise_error import drawn_noise, noise_error
from diptych.nn.style_space import square_of
from diptych.nn.text.beams import beam
from diptych.nn.text.decode import Prefix
from diptych.nn.text.likelihood import padded_ids, word_loss
from diptych.nn.text.refiner import PromptRefiner
from diptych.nn.text.vocabulary import BEGIN, END, Vocabulary, split
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step


def short_and_long(captions: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the short prompts and the long one of a picture: its longest caption, in words, is the long one.

    Raises:
        UsageError: there are fewer than two captions.
    """
    texts = tuple(str(c).strip() for c in captions if str(c).strip())
    if len(texts) < 2:
        raise UsageError(f"A picture needs a short prompt and a long one, got {texts!r}: give it two captions.")
    best = max(range(len(texts)), key=lambda i: len(split(texts[i])))
    return tuple(c for i, c in enumerate(texts) if i != best), texts[best]


@dataclass(frozen=True)
class UFFGTG(Rewriter):
    """Train a rewriter of prompts on pictures with a short and a long caption each.

    Use it where people write short prompts, and the denoiser was taught with long ones.

    Args:
        epochs: passes over the pictures, >= 1; 100.
        batch: pictures per step, >= 1; 64.
        rate: learning rate of AdamW (ours, with a decay of 0.01), > 0; 5e-5.
        warmup: steps of its warm-up, >= 0; 1000.
        tower_rate: factor on the rate for the text encoder, >= 0; 1. 0 leaves the encoder as it is.
        image: weight of L_img, >= 0; 1. 0 needs no denoiser.
        text: weight of L_txt, >= 0; 0.1.
        choices: rewrites of a prompt, >= 1; 5.
        diversity: of the beams' groups, >= 0; 0.5.
        limit: most words of a rewrite, and of a long prompt that is learnt from, >= 1; 32. Longer ones are cut, with a
            warning.
        read: most tokens of a prompt, >= 3; 77.
        width: of the language model, a multiple of 4; 128 (ours).
        layers: of the language model, >= 1; 2 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: arXiv 2402.12760 (UF-FGTG); numbers are those of public scripts that carry the authors' paths.

    Example:
        What it learns from a picture's captions:

        >>> short_and_long(("a dog", "a small brown dog on wet sand, at dusk", "dog on sand"))
        (('a dog', 'dog on sand'), 'a small brown dog on wet sand, at dusk')
    """

    epochs: int = 100
    batch: int = 64
    rate: float = 5e-5
    warmup: int = 1000
    tower_rate: float = 1.0
    image: float = 1.0
    text: float = 0.1
    choices: int = 5
    diversity: float = 0.5
    limit: int = 32
    read: int = 77
    width: int = 128
    layers: int = 2

    def __post_init__(self) -> None:
        check(self, at_least(1), "epochs", "batch", "choices", "limit", "layers")
        check(self, at_least(0), "warmup", "tower_rate", "image", "text", "diversity")
        check(self, at_least(3), "read")
        check(self, above(0), "rate")
        check(self, at_least(4), "width")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedUFFGTG:
        """Train on ``evidence.train``: pictures with two captions or more, the longest of which is the long prompt.

        Raises:
            MissingPart: the kit has no backbone, or no denoiser where L_img has a weight.
            MissingHook: the backbone has no text tower or cannot be rebuilt, or the denoiser reads other tokens.
            MissingEvidence: there are no pictures with captions.
            DataError: a picture has one caption alone.
        """
        backbone, table = kit.need(Backbone), captioned_images(evidence)
        diffusion = kit.need(TextDiffusion, "diffusion") if self.image else None
        pairs = _pairs(table)
        vocabulary = Vocabulary.of([long for _, long in pairs])
        if cut := sum(len(split(long)) > self.limit for _, long in pairs):
            warnings.warn(
                f"{cut} of {len(pairs)} long prompts have more than {self.limit} words, and their ends are not learnt: "
                f"give limit more words.",
                stacklevel=2,
            )
        reading = WHOLE if diffusion is None else check_reads(diffusion, backbone)
        space, names = own_tower(backbone, reading)
        words = TextTokens(space, reading)
        with run.seeded("uf-fgtg"):
            refiner = self.refiner(words.width, len(vocabulary))
        module = nn.ModuleDict({"space": space.module(), "refiner": refiner})

        def view(row: Row, g: torch.Generator) -> Mapping[str, Any]:
            short, long = pairs[row.index]
            out: dict[str, Any] = {"short": short[int(torch.randint(len(short), (), generator=g))]}
            out["ids"] = padded_ids(vocabulary, long, self.limit)
            if diffusion is not None:
                t, noise = drawn_noise(diffusion, 1, g)
                out |= {"x": square_of(row.item, diffusion.size), "t": t[0], "noise": noise[0]}
            return out

        def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
            ids = words.ids(batch["short"]).to(batch["ids"].device)
            read = words.condition(ids)
            memory = refiner.memory(words.without_padding(read, ids))
            out = {"text": self.text * word_loss(refiner.lm, batch["ids"], memory=memory)}
            if diffusion is not None:
                z = diffusion.to_latent(batch["x"])
                error = noise_error(diffusion, z, read, batch["t"], batch["noise"])
                out["image"] = self.image * error.mean()
            return out

        tower = tuple(f"space.{name}" for name in names) if self.tower_rate else ()
        refined = tuple(name for name, _ in module.named_parameters() if name.startswith("refiner."))
        groups = [ParamGroup(refined), *([ParamGroup(tower, lr=self.tower_rate)] if tower else [])]
        fit = Fit(
            self.rate, min(self.batch, len(table)), self.epochs, schedule=Schedule("constant", warmup=self.warmup),
            betas=(0.9, 0.999), eps=1e-8, decay=0.01,
        )  # fmt: skip
        if (steps := self.epochs * (len(table) // fit.batch)) < self.warmup:
            warnings.warn(
                f"The training of {steps} steps ends within its warm-up of {self.warmup}, so the rewriter learns "
                f"little and may write words without sense: give more pictures, more epochs, or a shorter warmup.",
                stacklevel=2,
            )
        learnt = train_parameters(Step(module, view, loss, groups), table, fit, run, (*refined, *tower))
        return FittedUFFGTG(backbone, self, vocabulary.words, learnt, reading)

    def refiner(self, tokens: int, vocabulary: int) -> PromptRefiner:
        """Return an untrained refiner of tokens of a width, for a number of words."""
        return PromptRefiner(tokens, vocabulary, self.width, self.layers, self.read, self.limit)


def _pairs(table: Table[Any]) -> list[tuple[tuple[str, ...], str]]:
    out = []
    for i, captions in enumerate(table.columns["captions"].values):
        try:
            out.append(short_and_long([str(text) for text in captions]))
        except UsageError as error:
            raise DataError(f"{table.items.name(i)}: {error}") from None
    return out


def own_tower(backbone: Backbone, reading: TextReading) -> tuple[Backbone, tuple[str, ...]]:
    """Return a copy of a backbone whose text tower may be trained, and the names of the parameters that are read.

    Raises:
        MissingHook: it has no text tower, or cannot be rebuilt.
    """
    space = twin_of(backbone)
    words = TextTokens(space, reading)
    return space, reached(space.module(), lambda: words.condition(words.ids(["a picture"])).tokens)


def check_reads(diffusion: TextDiffusion, backbone: Backbone) -> TextReading:
    """Return how a denoiser reads a backbone's text tower.

    Raises:
        MissingHook: it reads other tokens than those of this tower, or several text encoders.
    """
    if diffusion.reading is None:
        raise MissingHook(
            "This denoiser reads several text encoders, and one text tower is trained here: give a pipeline in the "
            "layout of Stable Diffusion 1 or 2, or small."
        )
    words = TextTokens(backbone, diffusion.reading)
    with torch.no_grad():
        trained, read = words.condition(words.ids(["a picture"])).tokens, diffusion.encode_text(["a picture"]).tokens
    if trained.shape != read.shape or not torch.allclose(trained, read.to(trained), atol=1e-3):
        raise MissingHook(
            f"This denoiser reads other tokens than those of {backbone.spec.name}'s text tower, which is trained here: "
            f"give the backbone whose text tower it was trained with."
        )
    return diffusion.reading


@dataclass(frozen=True)
class FittedUFFGTG:
    """Rewrites prompts; a ``Writer``, on the CPU.

    Args:
        backbone: whose text tower was trained.
        words: the vocabulary.
        learnt: weights of the refiner, and of the text tower.
        reading: how the denoiser reads that tower.
    """

    backbone: Backbone
    method: UFFGTG
    words: tuple[str, ...]
    learnt: Mapping[str, Tensor]
    reading: TextReading = WHOLE

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return up to ``n`` different rewrites of each prompt, ``about``, the likeliest first.

        Raises:
            UsageError: a prompt is empty or too long, or more rewrites are wanted than ``choices``.
        """
        tower, refiner = self.tower(), self.refiner()
        return [self._written(ask, tower, refiner) for ask in asks]

    @torch.no_grad()
    def _written(self, ask: Ask, tower: TextTokens, refiner: PromptRefiner) -> list[Text]:
        m = self.method
        if not ask.about.strip():
            raise UsageError("There is no prompt to rewrite: give words.")
        if ask.n > m.choices:
            raise UsageError(f"{ask.n} rewrites are wanted, and this writer has {m.choices}: ask for fewer.")
        ids = tower.ids([ask.about])
        read = tower.without_padding(tower.condition(ids), ids)  # where the tower is; the refiner writes on the CPU
        memory = refiner.memory(Condition(read.tokens.cpu(), None if read.mask is None else read.mask.cpu()))
        prefix = Prefix(refiner.lm.embed(torch.tensor([[BEGIN]])), memory=memory)
        beams = beam(
            refiner.lm,
            prefix,
            beams=m.choices,
            groups=m.choices if m.diversity else 1,
            diversity=m.diversity,
            limit=m.limit,
            end=END,
            n=m.choices,
        )
        vocabulary = Vocabulary(self.words)
        sentences = dict.fromkeys(vocabulary.plain(row) for row in beams.tokens[0].tolist())
        return [Text(text, self.method.card.slug, ask.about) for text in sentences if text][: ask.n]

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Return the tokens of prompts by the trained encoder, which a denoiser can read."""
        tower = self.tower()
        with torch.no_grad():
            return tower.condition(tower.ids(prompts))

    def tower(self) -> TextTokens:
        """Return the trained text encoder."""
        space, names = own_tower(self.backbone, self.reading)
        weights = {n.removeprefix("space."): t for n, t in self.learnt.items() if n.startswith("space.")}
        load_tensors(space.module(), weights, names)
        return TextTokens(space, self.reading)

    def refiner(self) -> PromptRefiner:
        """Return the trained refiner."""
        with torch.random.fork_rng(devices=[]):
            refiner = self.method.refiner(TextTokens(self.backbone).width, len(Vocabulary(self.words)))
        weights = {n.removeprefix("refiner."): t for n, t in self.learnt.items() if not n.startswith("space.")}
        load_tensors(refiner, weights)
        return refiner.eval()
