"""MacCap learns to write captions from noisy embeddings of sentences, and then writes from the regions of an image.

Training, for a sentence x:

    f    = normalise(text(x))
    c_k  = normalise(f + sqrt(s2) eps_k)                    for k = 1 .. K
    P    = MLP(norm(decoder(queries, c)))
    loss = cross-entropy of x after [P; begin], under a frozen language model

Testing, for an image:

    X_j  = normalise(W norm(h_j))
    r_k  = normalise(weights(A[k, .]) X)                    for the K tokens k with the largest A[0, .]
    c_k  = normalise(CLS + lambda r_k + sqrt(s2) eps_k)

The language model writes a caption for each of several noisy draws. They are ranked by their cosine to the image.

f: (D,) unit text embedding
c: (K, D) noisy copies in training, regions in testing
eps_k: (D,) standard normal noise;  s2: its variance a coordinate
P: (Q, C) prefix: Q token embeddings that are put before the sentence
decoder: attention of Q learnt queries to c;  norm: layer normalisation;  begin: the token before a sentence
h_j: (C_v,) output of the last image block at token j;  W: the tower's projection to D
A: (T, T) attention of the last image block, mean over heads; token 0 is CLS
weights: from attention to weights of the tokens, see ``weighting``
CLS: (D,) unit embedding of the whole image
lambda: weight of the regions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    Captioner,
    Column,
    Evidence,
    FittedCaptioner,
    Kit,
    Row,
    Run,
    Samples,
    Table,
    Text,
    Texts,
)
from diptych.core.ranges import above, at_least, check, one_of, wrong
from diptych.data.captions import sentences
from diptych.features.embed import embed
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.dense.image_regions import Weighting, regions, tokens_and_attention
from diptych.nn.dense.patches import check_patches
from diptych.nn.text.beams import beam
from diptych.nn.text.decode import Prefix
from diptych.nn.text.likelihood import loss_behind_zeros, padded_ids
from diptych.nn.text.prefix import PrefixAligner, loss_of, noisy
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.vocabulary import BEGIN, END, Vocabulary, split
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step, View

NOISE = 8.2
"""s2 D, from the paper's 0.016 at 512 dimensions: the cosine of a noisy copy is 0.33 in a space of any width."""


def view_of(vocabulary: Vocabulary, limit: int, copies: int, noise: float) -> View:
    """Return the function that gives the padded ids of a row's sentence, and K noisy copies of its embedding.

    Args:
        vocabulary: words that have ids.
        limit: most words of a sentence.
        copies: K.
        noise: variance of the noise a coordinate.
    """

    def view(row: Row, g: torch.Generator) -> dict[str, Tensor]:
        return {
            "ids": padded_ids(vocabulary, row.columns["captions"], limit),
            "c": noisy(row.item.expand(copies, -1), noise, g),
        }

    return view


@dataclass(frozen=True)
class MacCap(Captioner):
    """Train a captioner on sentences alone; at test time regions of an image replace the noisy copies of a sentence.

    Use it where captions in the wished style exist as text, without images. It needs an image tower or dense maps.

    Args:
        copies: K, noisy copies in training and regions in testing, >= 1; 10 (the authors').
        noise: s2, variance a coordinate, >= 0; None: 8.2 / D, which is the authors' 0.016 at 512 dimensions.
        region: lambda, weight of the regions; 1.0 (the authors'). 0 makes every c_k a noisy CLS.
        weighting: how attention becomes weights; "reference" is the authors' double softmax.
        queries: Q, tokens of the prefix, >= 1; 32 (the authors').
        width: inner width of the aligner, a multiple of 8; 512 (the authors').
        layers: blocks of the language model, >= 1; 4 (ours).
        lm_width: C, width of the language model, a multiple of 4; 128 (ours).
        limit: most words of a caption, >= 1; 25 (the authors') in training, at most 16 in writing. A longer sentence is
            cut, and ``run.tally["cut"]`` counts it.
        epochs: passes over the sentences, for the language model and again for the aligner, >= 1; 10.
        batch: sentences per step, >= 1; 128.
        rate: learning rate of AdamW for the aligner, > 0; 1e-4.
        lm_rate: learning rate of AdamW for the language model, > 0; 1e-3 (ours).
        beams: of the beam search, >= 1; 4.
        tries: noisy draws an image, >= 1; 4. The captions are ranked by their cosine to the image.

    Raises:
        UsageError: a number is out of its range.

    Source: Qiu et al. 2024, sections 3.2 to 3.4; numbers without a mark are those of the authors' code.

    Example:
        At 8.2 / D the cosine of a noisy copy to its sentence is 0.33, here with D = 4096:

        >>> g = torch.Generator().manual_seed(0)
        >>> f = normalize(torch.randn(4096, generator=g), dim=-1)
        >>> copies = noisy(f.expand(10, -1), NOISE / 4096, g)
        >>> copies.shape, round((copies @ f).mean().item(), 1)
        (torch.Size([10, 4096]), 0.3)
    """

    copies: int = 10
    noise: float | None = None
    region: float = 1.0
    weighting: Weighting = "reference"
    queries: int = 32
    width: int = 512
    layers: int = 4
    lm_width: int = 128
    limit: int = 25
    epochs: int = 10
    batch: int = 128
    rate: float = 1e-4
    lm_rate: float = 1e-3
    beams: int = 4
    tries: int = 4

    def __post_init__(self) -> None:
        check(self, at_least(1), "copies", "queries", "layers", "limit", "epochs", "batch", "beams", "tries")
        check(self, at_least(0), "noise")
        check(self, above(0), "rate", "lm_rate")
        check(self, one_of(*get_args(Weighting)), "weighting")
        for name, divisor in (("width", 8), ("lm_width", 4)):
            if getattr(self, name) % divisor:
                raise wrong(self, name, f"a multiple of {divisor}")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedMacCap:
        """Train the language model, then the aligner, on the texts; no image is used.

        Raises:
            MissingHook: the backbone has neither an image tower nor dense maps.
            MissingEvidence: there are no texts.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        pool = sentences(evidence)
        texts, vocabulary = Texts(pool), Vocabulary.of(pool)
        run.tally["cut"] += sum(len(split(text)) > self.limit for text in pool)
        f = normalize(embed(backbone.text, texts, run), dim=-1)
        noise = NOISE / f.shape[1] if self.noise is None else self.noise
        with run.seeded("maccap"):
            lm = SmallLM(len(vocabulary), self.lm_width, self.layers, context=self.queries + self.limit + 2)
            aligner = PrefixAligner(f.shape[1], self.lm_width, self.width, self.queries)
        data = Table(Vectors(f, texts), {"captions": Column("captions", pool)})
        batch = min(self.batch, len(pool))
        settings = Fit(
            self.lm_rate, batch, self.epochs, schedule=_warm(len(pool) // batch * self.epochs), betas=(0.9, 0.999),
            eps=1e-8, decay=0.01, clip=1.0,
        )  # fmt: skip
        lm_step = Step(lm, view_of(vocabulary, self.limit, 1, 0.0), partial(self.lm_losses, lm))
        lm_weights = train_parameters(lm_step, data, settings, run)
        lm.to(run.device).eval().requires_grad_(False)
        view = view_of(vocabulary, self.limit, self.copies, noise)
        aligner_step = Step(aligner, view, partial(loss_of, lm, aligner))
        aligner_weights = train_parameters(aligner_step, data, replace(settings, lr=self.rate), run)
        return FittedMacCap(backbone, self, noise, vocabulary.words, lm_weights, aligner_weights)

    def lm_losses(self, lm: SmallLM, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the language model, whose sentences stand where they will stand behind the prefix."""
        return {"words": loss_behind_zeros(lm, batch["ids"], self.queries)}


def _warm(steps: int) -> Schedule:
    """Return the authors' 200 steps of warm-up, or a tenth of a short training, then a cosine to a tenth."""
    return Schedule(warmup=max(1, min(200, steps // 10)), floor=0.1)


@dataclass(frozen=True)
class FittedMacCap(FittedCaptioner):
    """Writes captions with a small language model, whose prefix is made from the regions of an image.

    Args:
        backbone: embeds images, and the captions that are ranked.
        noise: s2, variance a coordinate.
        words: the vocabulary.
        lm: weights of the language model.
        aligner: weights of the aligner.
    """

    backbone: Backbone
    method: MacCap
    noise: float
    words: tuple[str, ...]
    lm: Mapping[str, Tensor]
    aligner: Mapping[str, Tensor]

    def caption(self, images: Samples[Any], run: Run, *, n: int = 1) -> list[list[Text]]:
        """Return at most ``n`` different captions per image, the nearest to it first; see ``FittedCaptioner``."""
        lm, aligner = self.models(run)
        out = []
        with run.track("caption", len(images)) as bar, torch.no_grad():
            for i in range(len(images)):
                x = self.backbone.image.inputs([images[i]])
                pixels = (x if isinstance(x, Tensor) else x["pixels"]).to(run.device)
                whole, tokens, attention = tokens_and_attention(self.backbone, pixels)
                v = (
                    regions(whole, tokens, attention, self.method.copies, self.method.region, self.method.weighting)
                    .float()
                    .cpu()
                )
                written = self.write(v[0], run, images.key(i), lm, aligner)
                out.append(self._ranked(whole.float().cpu(), written, n, run))
                bar.advance()
        return out

    def write(self, v: Tensor, run: Run, key: str, lm: SmallLM, aligner: PrefixAligner) -> list[str]:
        """Return ``tries`` captions from the regions of one image, each with its own noise.

        Args:
            v: (K, D) of ``regions``, of any length.
            run: device and seed.
            key: of the image; it seeds the noise.
            lm: the language model.
            aligner: makes the prefix.
        """
        g = run.generator(f"maccap/{key}")
        c = torch.stack([noisy(v, self.noise, g) for _ in range(self.method.tries)]).to(run.device)
        prefix = torch.cat([aligner(c), lm.embed(torch.full((len(c), 1), BEGIN, device=c.device))], dim=1)
        beams = beam(lm, Prefix(prefix), beams=self.method.beams, limit=min(16, self.method.limit), end=END)
        vocabulary = Vocabulary(self.words)
        return [vocabulary.decode(row.tolist()) for row in beams.tokens[:, 0].cpu()]

    def _ranked(self, whole: Tensor, written: Sequence[str], n: int, run: Run) -> list[Text]:
        texts = [t for t in dict.fromkeys(written) if t]
        if not texts:
            return []
        unit = normalize(embed(self.backbone.text, Texts(tuple(texts)), replace(run, cache=None)), dim=-1)
        order = (unit @ whole[0]).argsort(descending=True, stable=True).tolist()
        return [Text(texts[i], writer="maccap") for i in order[:n]]

    def models(self, run: Run) -> tuple[SmallLM, PrefixAligner]:
        """Return the language model and the aligner, with the weights of the fit."""
        m = self.method
        with run.seeded("maccap"):
            lm = SmallLM(len(self.words) + 4, m.lm_width, m.layers, context=m.queries + m.limit + 2)
            aligner = PrefixAligner(self.backbone.text.dim, m.lm_width, m.width, m.queries)
        load_tensors(lm, self.lm)
        load_tensors(aligner, self.aligner)
        return lm.to(run.device).eval(), aligner.to(run.device).eval()
