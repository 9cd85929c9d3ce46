"""User-aware prefix-tuning writes captions as a user does: the user's words join the image in the prefix.

    P_v  = mapping(queries, linear(V))
    P    = fusion([P_v ; E(c_1 .. c_M) + type]), its first K outputs
    loss = - mean over the words j of a batch of log p(w_j | P, w_<j)

V: (T, D) unit image tokens of a frozen CLIP
queries: (K, C) learned vectors that attend to the image
c_1 .. c_M: the words that tell the user's EARLIER posts from those of other users, by TF-IDF; see
    ``features.user_words``
E: token embeddings of the language model, which is frozen;  C: its width
type: (C,) learned vector that marks words of the user
P: (K, C) prefix, which stands before the words w_j of the caption

Only the mapping, the fusion, the queries and the type are trained with images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from diptych.core import (
    Backbone,
    Captioner,
    Column,
    Evidence,
    FittedCaptioner,
    Kit,
    MissingEvidence,
    Row,
    Run,
    Samples,
    Table,
    Text,
    Texts,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check, one_of, wrong
from diptych.data.evidence import captioned_images
from diptych.features.strict_weights import load_tensors
from diptych.features.user_words import UserWords
from diptych.features.vectors import Vectors
from diptych.nn.dense.image_tokens import Tokens, image_tokens
from diptych.nn.text.beams import beam
from diptych.nn.text.decode import Prefix
from diptych.nn.text.likelihood import loss_behind_zeros, padded_ids
from diptych.nn.text.small_lm import SmallLM
from diptych.nn.text.user_prefix import UserPrefix, context_ids, prefix_loss
from diptych.nn.text.vocabulary import BEGIN, END, PAD, Vocabulary, split
from diptych.train.pair import drawn_caption
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

CHUNK = 32
"""Images that are captioned at once; a caption does not depend on it."""


def posts(evidence: Evidence[Any]) -> Table[Any]:
    """Return the train table, with captions and a user a row.

    Raises:
        MissingEvidence: there are no images with captions, or no users.
        DataError: a row has no caption.
    """
    table = captioned_images(evidence)
    if "user" not in table.columns:
        raise MissingEvidence(
            "This captioner learns how users write, and the table names none: add a column user with a name in every "
            "row."
        )
    return table


@dataclass(frozen=True)
class Speaker:
    """A language model of sentences.

    Args:
        words: its vocabulary.
        weights: of the model.
    """

    words: tuple[str, ...]
    weights: Mapping[str, Tensor]


@dataclass(frozen=True)
class UserAwarePrefix(Captioner):
    """Train a prefix that knows the image and the user before a frozen language model.

    Use it where several people captioned photos, and new captions shall sound like one of them. The column "user" names
    who wrote the captions of a row; the rows of a user stand in the order in which they were written.

    Args:
        tokens: V, "patches" or the "pooled" embedding alone.
        words: M, most words of a user, >= 0; 100 (the protocol's). 0 leaves users out.
        nobody: share of training rows whose user is hidden, so that it also writes for nobody, in [0, 1); 0.1 (ours).
        queries: K, tokens of the prefix, >= 1; 10 (ours, after ClipCap).
        mapping: layers of the mapping, >= 1; 8 (ours, after ClipCap). It and the fusion have
            8 heads (ClipCap's), or 4 where 8 do not divide the width.
        fusion: layers of the fusion, >= 1; 4 (ours).
        lm_width: C, width of the language model, a multiple of 4; 128 (ours; GPT-2 has 768).
        layers: blocks of the language model, >= 1; 4 (ours).
        limit: most words of a caption, >= 1; 25 (ours).
        least: how often a word must occur in the captions to be known, >= 1; 1 (ours).
        lm_epochs: passes over the captions by the language model, >= 1; 10 (ours).
        epochs: passes over the rows, >= 1; 10 (ClipCap's).
        batch: rows per step, >= 1; 40 (ClipCap's).
        rate: learning rate of AdamW for the prefix, > 0; 1e-3 (ours; ClipCap's 2e-5 is for GPT-2).
        lm_rate: learning rate of AdamW for the language model, > 0; 1e-3 (ours).
        beams: of the beam search, >= 1; 5 (ours).

    Raises:
        UsageError: a number is out of its range.

    Source: Wang et al. 2023, section 3; its sizes were not found, so those here are ClipCap's or ours.

    Example:
        >>> vocabulary = Vocabulary.of(["a pup runs"])
        >>> context_ids(vocabulary, ("pup",), most=3).tolist()
        [5, 0, 0]
    """

    tokens: Tokens = "patches"
    words: int = 100
    nobody: float = 0.1
    queries: int = 10
    mapping: int = 8
    fusion: int = 4
    lm_width: int = 128
    layers: int = 4
    limit: int = 25
    least: int = 1
    lm_epochs: int = 10
    epochs: int = 10
    batch: int = 40
    rate: float = 1e-3
    lm_rate: float = 1e-3
    beams: int = 5

    personal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive = ("queries", "mapping", "fusion", "layers", "limit", "least", "lm_epochs", "epochs", "batch", "beams")
        check(self, at_least(1), *positive)
        check(self, at_least(0), "words")
        check(self, between(0, 1, "[)"), "nobody")
        check(self, above(0), "rate", "lm_rate")
        check(self, one_of(*get_args(Tokens)), "tokens")
        if self.lm_width % 4 or self.lm_width < 4:
            raise wrong(self, "lm_width", "a multiple of 4")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedUserAwarePrefix:
        """Train the language model on the captions, then the prefix on images, users and captions.

        Raises:
            MissingHook: patches of a backbone without a CLS token or dense maps.
            MissingEvidence: there are no images with captions, or no users.
            UnreadableItem: an image cannot be read.
        """
        backbone, table = kit.need(Backbone), posts(evidence)
        return self.prefixed(backbone, self.speaker(table, run), table, run)

    def speaker(self, table: Table[Any], run: Run) -> Speaker:
        """Return a language model that is trained on the captions of a table, without its images.

        The captions stand behind K zero embeddings, at the positions that they will have behind a prefix.
        """
        pool = tuple(dict.fromkeys(str(text) for captions in table.columns["captions"].values for text in captions))
        run.tally["cut"] += sum(len(split(text)) > self.limit for text in pool)
        vocabulary = Vocabulary.of(pool, self.least)
        lm = self.language_model(len(vocabulary), run)

        def view(row: Row, g: torch.Generator) -> dict[str, Tensor]:
            return {"ids": padded_ids(vocabulary, row.item, self.limit)}

        step = Step(lm, view, lambda batch: {"words": loss_behind_zeros(lm, batch["ids"], self.queries)})
        settings = self.settings(self.lm_rate, len(pool), self.lm_epochs)
        return Speaker(vocabulary.words, train_parameters(step, Table(Texts(pool)), settings, run))

    def prefixed(self, backbone: Backbone, speaker: Speaker, table: Table[Any], run: Run) -> FittedUserAwarePrefix:
        """Return the captioner whose prefix is trained before a frozen language model.

        Args:
            backbone: embeds images.
            speaker: the language model, of settings that are equal to these.
            table: of ``posts``.
            run: seed, device and cache.
        """
        captions = [tuple(str(text) for text in texts) for texts in table.columns["captions"].values]
        vocabulary, names = Vocabulary(speaker.words), list(map(str, table.columns["user"].values))
        users = UserWords.of([" ".join(texts) for texts in captions], names, vocabulary.words, split)
        contexts = [context_ids(vocabulary, users.before(i, self.words), self.words) for i in range(len(table))]
        known = {user: users.context(user, self.words) for user in users.users}
        lm = self.language_model(len(vocabulary), run)
        load_tensors(lm, speaker.weights)
        lm.to(run.device).eval().requires_grad_(False)
        heads = 4 if self.lm_width % 8 else 8
        prefix = self.prefix(backbone, run, heads)

        def view(row: Row, g: torch.Generator) -> dict[str, Tensor]:
            text = drawn_caption(row, g)
            hidden = float(torch.rand((), generator=g)) < self.nobody
            context = torch.zeros_like(contexts[row.index]) if hidden else contexts[row.index]
            return {"ids": padded_ids(vocabulary, text, self.limit), "tokens": row.item, "context": context}

        rows = Vectors(image_tokens(backbone, table.items, run, self.tokens), table.items)
        step = Step(prefix, view, lambda batch: prefix_loss(lm, prefix, batch))
        settings = self.settings(self.rate, len(table), self.epochs)
        weights = train_parameters(step, Table(rows, {"captions": Column("captions", captions)}), settings, run)
        return FittedUserAwarePrefix(backbone, self, vocabulary.words, known, speaker.weights, weights, heads=heads)

    def settings(self, rate: float, rows: int, epochs: int) -> Fit:
        """Return AdamW with a tenth of warm-up, then a cosine."""
        batch = min(self.batch, rows)
        warmup = max(1, rows // batch * epochs // 10)
        return Fit(
            rate, batch, epochs, schedule=Schedule(warmup=warmup), betas=(0.9, 0.999), eps=1e-8, decay=0.01, clip=1.0
        )

    def language_model(self, words: int, run: Run) -> SmallLM:
        """Return a new language model for a number of tokens."""
        with run.seeded("user-aware-prefix/lm"):
            return SmallLM(words, self.lm_width, self.layers, context=self.queries + self.limit + 2)

    def prefix(self, backbone: Backbone, run: Run, heads: int) -> UserPrefix:
        """Return a new mapping and fusion with a number of heads."""
        with run.seeded("user-aware-prefix"):
            return UserPrefix(backbone.image.dim, self.lm_width, self.queries, self.mapping, self.fusion, heads)


@dataclass(frozen=True)
class FittedUserAwarePrefix(FittedCaptioner):
    """Writes captions for nobody in particular, or as one user does; see ``for_user``.

    Args:
        words: the vocabulary.
        users: user -> their characteristic words.
        lm: weights of the language model.
        prefix: weights of mapping and fusion.
        user: who is written for; "" is nobody.
        heads: of mapping and fusion; 4 in folders of earlier versions, which do not state it.
    """

    backbone: Backbone
    method: UserAwarePrefix
    words: tuple[str, ...]
    users: Mapping[str, tuple[str, ...]]
    lm: Mapping[str, Tensor]
    prefix: Mapping[str, Tensor]
    user: str = ""
    heads: int = 4

    def for_user(self, user: str) -> FittedUserAwarePrefix:
        """Return the captioner that writes as a user does; see ``FittedCaptioner.for_user``."""
        if user not in self.users:
            named = ", ".join(list(self.users)[:10]) + (", ..." if len(self.users) > 10 else "")
            raise UsageError(f"{user!r} wrote none of the captions that were learnt from: name one of {named}.")
        return replace(self, user=user)

    def caption(self, images: Samples[Any], run: Run, *, n: int = 1) -> list[list[Text]]:
        """Return at most ``n`` different captions per image, the likeliest first; see ``FittedCaptioner``."""
        lm, prefix = self.models(run)
        vocabulary, m = Vocabulary(self.words), self.method
        context = context_ids(vocabulary, self.users[self.user] if self.user else (), m.words).to(run.device)
        tokens = image_tokens(self.backbone, images, run, m.tokens) if len(images) else []
        beams = min(max(n, m.beams), lm.vocabulary - 1)
        out: list[list[Text]] = []
        with run.track("caption", len(images)) as bar, torch.no_grad():
            for start in range(0, len(tokens), CHUNK):
                batch = torch.stack(tokens[start : start + CHUNK]).to(run.device)
                words = context.expand(len(batch), -1)
                prefixes = prefix(batch, lm.embed(words), words != PAD)
                begin = lm.embed(torch.full((len(batch), 1), BEGIN, device=prefixes.device))
                before = Prefix(torch.cat([prefixes, begin], dim=1))
                written = beam(lm, before, beams=beams, limit=m.limit + 1, end=END, n=min(n, beams))
                for rows in written.tokens.tolist():
                    texts = dict.fromkeys(vocabulary.decode(ids) for ids in rows)
                    out.append([Text(text, writer="user-aware-prefix") for text in texts if text])
                    bar.advance()
        return out

    def models(self, run: Run) -> tuple[SmallLM, UserPrefix]:
        """Return the language model and the prefix, with the weights of the fit."""
        lm, prefix = (
            self.method.language_model(len(self.words) + 4, run),
            self.method.prefix(self.backbone, run, self.heads),
        )
        load_tensors(lm, self.lm)
        load_tensors(prefix, self.prefix)
        return lm.to(run.device).eval(), prefix.to(run.device).eval()
