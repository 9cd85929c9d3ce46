"""CLIP reward trains a captioner to write what CLIP finds near the image, and near no reference.

First, likelihood:

    loss = - mean over words t of log p(w_t | w_<t, X)

Then, for an image, n samples s_j and one greedy caption g of the model as it is:

    CLIP-S(c) = 2.5 max(0, cos(z, text("A photo depicts " + c)))
    r_j       = lambda [CLIP-S(s_j) - CLIP-S(g)] + gamma [P(s_j) - P(g)]
    loss      = - sum over j, t of m_jt r_j log p(s_jt | s_j,<t, X) / sum of m

X: (T, D) unit image tokens, the memory of the language model's cross-attention
w: a caption of the image;  s_jt: word t of sample j
z: (D,) unit image embedding
lambda: weight of CLIP-S;  gamma: weight of grammar
P: probability that a caption is grammatical, of a head on text embeddings that learns from corrupted captions
m_jt: 1 for the words of a sample and its end, 0 after them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Captioner, Evidence, FittedCaptioner, Kit, Row, Run, Samples, Table, Text, Texts
from diptych.core.ranges import above, at_least, check, one_of, wrong
from diptych.data.evidence import captioned_images
from diptych.data.words.corrupted import corrupted
from diptych.features.embed import embed
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.dense.image_tokens import Tokens, image_tokens
from diptych.nn.text.beams import beam
from diptych.nn.text.decode import greedy
from diptych.nn.text.grammar import GrammarHead, balanced_accuracy, grammar_loss
from diptych.nn.text.likelihood import padded_ids, word_loss
from diptych.nn.text.rewarded import Reward, RewardTrainee, begin, judged_texts
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.vocabulary import END, Vocabulary, join, split
from diptych.train.pair import drawn_caption
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

COPIES = 4
"""Corrupted copies of a sentence."""
GRAMMAR_STEPS = 600
"""Steps in which the grammar head learns."""
CHUNK = 64
"""Images that are captioned at once; a caption does not depend on it."""
Grammar = tuple[GrammarHead, float | None]
"""A head, and its balanced accuracy on captions that it did not learn from."""
ADAM = Fit(1e-3, 128, epochs=1, optimizer="adam", betas=(0.9, 0.999), eps=1e-8, decay=0.0)


@dataclass(frozen=True)
class ClipReward(Captioner):
    """Train a captioner by likelihood, then on CLIPScore of its own samples, with a reward for grammar.

    Use it where captions should tell an image from others more than repeat how annotators write. The judge of such
    captions must be another backbone: this one is their reward.

    Args:
        tokens: what the captioner reads, "patches" or the "pooled" embedding alone.
        lm_width: C, width of the captioner, a multiple of 4; 128 (ours; 512 in the paper).
        layers: blocks of the captioner, >= 1; 2 (ours; 6 in the paper).
        limit: most words of a caption, >= 1; 16 (the authors').
        epochs: passes over the images by likelihood, >= 1; 15 (the authors').
        batch: images per step of likelihood, >= 1; 64 (ours).
        rate: learning rate of Adam by likelihood, > 0; 1e-3 (ours).
        rewarded: steps by reward, >= 0; 0 leaves the captioner of likelihood.
        reward_batch: images per step of reward, >= 1; 32 (ours; 160 in the paper).
        reward_rate: learning rate of Adam by reward, > 0; 3e-4 (ours; 5e-6 in the paper, at 40 times the steps).
        samples: n, >= 1; 5 (the authors').
        weight: lambda, >= 0; 2.0 (the authors').
        grammar: gamma, >= 0; 1.0 (the authors'). 0 trains no head.
        beams: of the beam search, >= 1; 1 (the authors') is greedy.

    Raises:
        UsageError: a number is out of its range.

    Source: Cho et al. 2022, section 3; numbers without a mark are those of the authors' code.

    Example:
        A sample that CLIP finds nearer than the greedy caption gets likelier, the other one less likely:

        >>> from diptych.nn.text.rewarded import policy_loss
        >>> log_p = torch.zeros(1, 2, 3, requires_grad=True)
        >>> policy_loss(log_p, torch.tensor([[0.5, -0.5]]), torch.tensor([[3, 3]])).backward()
        >>> (-log_p.grad[0, :, 0]).sign().tolist()
        [1.0, -1.0]
    """

    tokens: Tokens = "patches"
    lm_width: int = 128
    layers: int = 2
    limit: int = 16
    epochs: int = 15
    batch: int = 64
    rate: float = 1e-3
    rewarded: int = 600
    reward_batch: int = 32
    reward_rate: float = 3e-4
    samples: int = 5
    weight: float = 2.0
    grammar: float = 1.0
    beams: int = 1

    def __post_init__(self) -> None:
        check(self, at_least(1), "layers", "limit", "epochs", "batch", "reward_batch", "samples", "beams")
        check(self, at_least(0), "rewarded", "weight", "grammar")
        check(self, above(0), "rate", "reward_rate")
        check(self, one_of(*get_args(Tokens)), "tokens")
        if self.lm_width % 4 or self.lm_width < 4:
            raise wrong(self, "lm_width", "a multiple of 4")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedClipReward:
        """Train by likelihood, then by reward, on the images and captions of ``evidence.train``.

        Raises:
            MissingHook: patches of a backbone without a CLS token or dense maps.
            MissingEvidence: there are no images with captions.
            UnreadableItem: an image cannot be read.
        """
        start = self.likely(kit, evidence, run)
        return self.rewarded_from(start, captioned_images(evidence), run) if self.rewarded else start

    def likely(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedClipReward:
        """Return the captioner after the first stage, likelihood; errors are those of ``fit``."""
        backbone = kit.need(Backbone)
        table = captioned_images(evidence)
        texts = [str(text) for captions in table.columns["captions"].values for text in captions]
        run.tally["cut"] += sum(len(split(text)) > self.limit for text in texts)
        vocabulary = Vocabulary.of(texts)
        lm = self.captioner(backbone, len(vocabulary), run)

        def view(row: Row, g: torch.Generator) -> dict[str, Tensor]:
            return {"ids": padded_ids(vocabulary, drawn_caption(row, g), self.limit), "memory": row.item}

        step = Step(lm, view, lambda batch: {"words": word_loss(lm, batch["ids"], memory=batch["memory"])})
        batch = min(self.batch, len(table))
        warm = Schedule(warmup=len(table) // batch)
        settings = replace(ADAM, lr=self.rate, batch=batch, epochs=self.epochs, schedule=warm)
        weights = train_parameters(step, self.read(backbone, table, run), settings, run)
        return FittedClipReward(backbone, self, vocabulary.words, weights)

    def rewarded_from(
        self, start: FittedClipReward, table: Table[Any], run: Run, grammar: Grammar | None = None
    ) -> FittedClipReward:
        """Return the captioner after the second stage, reward.

        Args:
            start: of ``likely``.
            table: images with captions; the captions teach grammar alone.
            run: device and seed.
            grammar: a head that was trained on the captions before, with its accuracy; None: it is trained here.
        """
        backbone, vocabulary = start.backbone, Vocabulary(start.words)
        head, accuracy = None, None
        if self.grammar:
            head, accuracy = grammar or grammar_head(backbone, table, vocabulary, run)
        z = self.seen_by_reward(normalize(embed(backbone.image, table.items, run), dim=-1), run)
        lm = start.model(run).requires_grad_(True)
        reward = Reward(backbone, self.weight, self.grammar, head, run)
        trainee = RewardTrainee(lm, reward, z, vocabulary, self.samples, self.limit + 1)
        batch, constant = min(self.reward_batch, len(table)), Schedule("constant")
        settings = replace(
            ADAM, lr=self.reward_rate, batch=batch, epochs=None, steps=self.rewarded, schedule=constant, clip=0.1
        )
        weights = train_parameters(trainee, self.read(backbone, table, run), settings, run)
        return replace(start, method=self, lm=weights, grammar_accuracy=accuracy)

    def seen_by_reward(self, z: Tensor, run: Run) -> Tensor:
        """Return the (N, D) unit embeddings that the reward compares captions with: those of the images."""
        return z

    def read(self, backbone: Backbone, table: Table[Any], run: Run) -> Table[Tensor]:
        """Return the table with the image tokens as its items."""
        tokens = image_tokens(backbone, table.items, run, self.tokens)
        return Table(Vectors(tokens, table.items), {"captions": table.columns["captions"]})

    def captioner(self, backbone: Backbone, words: int, run: Run) -> SmallLM:
        """Return a new captioner for a number of tokens."""
        with run.seeded("clip-reward"):
            return SmallLM(words, self.lm_width, self.layers, context=self.limit + 2, memory=backbone.image.dim)


def grammar_head(backbone: Backbone, table: Table[Any], vocabulary: Vocabulary, run: Run) -> Grammar:
    """Train a head on captions and corrupted copies of them.

    Returns:
        The head, and its balanced accuracy on a tenth of the captions, which it does not learn from; None below 10.
    """
    texts = dict.fromkeys(str(text) for captions in table.columns["captions"].values for text in captions)
    lists = list(dict.fromkeys(tuple(words) for text in texts if (words := split(text))))
    rng = np.random.default_rng(run.integer("corruptions"))
    bad = [join(corrupted(words, vocabulary.words, rng)) for words in lists for _ in range(COPIES)]
    good = judged_texts(backbone, [join(words) for words in lists], run)
    worse = judged_texts(backbone, bad, replace(run, cache=None)).reshape(len(lists), COPIES, -1)
    order = rng.permutation(len(lists)).tolist()
    held_out, learnt = order[: len(lists) // 10], order[len(lists) // 10 :]
    with run.seeded("grammar"):
        head = GrammarHead(good.shape[1])

    def view(row: Row, g: torch.Generator) -> dict[str, Tensor]:
        k = int(torch.randint(COPIES, (), generator=g))
        return {"t": torch.stack([row.item[0], row.item[1 + k]])}

    rows = torch.cat([good[:, None], worse], dim=1)[learnt]
    names = Texts(tuple(join(lists[i]) for i in learnt))
    batch = min(128, len(learnt))
    settings = replace(ADAM, batch=batch, epochs=None, steps=GRAMMAR_STEPS, schedule=Schedule(warmup=20))
    step = Step(head, view, lambda b: {"grammar": grammar_loss(head, b["t"])})
    train_parameters(step, Table(Vectors(rows, names)), settings, run, ())
    head.cpu().eval().requires_grad_(False)
    return head, balanced_accuracy(head, good[held_out], worse[held_out]) if held_out else None


@dataclass(frozen=True)
class FittedClipReward(FittedCaptioner):
    """Writes captions with a small decoder that attends to the tokens of an image.

    Args:
        words: the vocabulary.
        lm: weights of the captioner.
        grammar_accuracy: balanced accuracy of the grammar head on captions it did not learn from; None: no head.
    """

    backbone: Backbone
    method: ClipReward
    words: tuple[str, ...]
    lm: Mapping[str, Tensor]
    grammar_accuracy: float | None = None

    def caption(self, images: Samples[Any], run: Run, *, n: int = 1) -> list[list[Text]]:
        """Return at most ``n`` different captions per image, the likeliest first; see ``FittedCaptioner``."""
        lm, vocabulary, m = self.model(run), Vocabulary(self.words), self.method
        tokens = image_tokens(self.backbone, images, run, m.tokens) if len(images) else []
        out: list[list[Text]] = []
        with run.track("caption", len(images)) as bar, torch.no_grad():
            for start in range(0, len(tokens), CHUNK):
                prefix = begin(lm, torch.stack(tokens[start : start + CHUNK]).to(run.device))
                if max(n, m.beams) == 1:
                    written = greedy(lm, prefix, limit=m.limit + 1, end=END)
                else:
                    beams = min(max(n, m.beams), lm.vocabulary - 1)
                    written = beam(lm, prefix, beams=beams, limit=m.limit + 1, end=END, n=min(n, beams))
                for sentence in written.tokens.tolist():
                    texts = dict.fromkeys(vocabulary.decode(ids) for ids in sentence)
                    out.append([Text(text, writer="clip-reward") for text in texts if text])
                    bar.advance()
        return out

    def model(self, run: Run) -> SmallLM:
        """Return the captioner with the weights of the fit."""
        lm = self.method.captioner(self.backbone, len(self.words) + 4, run)
        load_tensors(lm, self.lm)
        return lm.to(run.device).eval()
