"""The bench of captioners with users: photos of flickr8k_small, and CONSTRUCTED writers who reword its human captions.

A writer has an opening, an ending, and a word of choice for each of several common nouns. Captions of train photos are
given to writers at random, one caption a post. Each photo of val is captioned for one writer; its references are its
own human captions in that writer's wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from diptych.core import Backbone, Column, Run, Subset, Table
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.evaluation.arms import CHANCE, Floats
from diptych.methods.caption.user_aware_prefix import FittedUserAwarePrefix, UserAwarePrefix
from diptych.metrics.caption import cider_d, tokens
from proofs.trial import Tabled

WRITERS = 12
SHORT = 9
"""Most words of a human caption that is given to a writer: half of them, which a small language model learns sooner."""
OPENINGS = ("", "look ,", "here we see", "once more")
ENDINGS = ("", "today", "as always", "so nice")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "man": ("man", "guy", "fellow"),
    "woman": ("woman", "lady", "gal"),
    "dog": ("dog", "pup", "hound"),
    "boy": ("boy", "lad", "youngster"),
    "girl": ("girl", "lass", "missy"),
    "people": ("people", "folks", "persons"),
}
SETTINGS = {**UserAwarePrefix.card.variants["small"], "limit": 16, "lm_epochs": 8, "epochs": 9, "rate": 3e-3}
"""Fixed on the last 100 photos of train, and then shortened; no photo of val was used."""
ARMS: Mapping[str, UserAwarePrefix] = {
    "user-aware-prefix": UserAwarePrefix(**SETTINGS),
    "no users": UserAwarePrefix(**{**SETTINGS, "words": 0}),
}


@dataclass(frozen=True)
class Writer:
    """How a constructed writer words a caption.

    Args:
        opening, ending: words before and after it.
        words: noun -> word of choice.

    Example:
        >>> Writer("look ,", "today", {"dog": "pup"}).reword("A dog runs .")
        'look , a pup runs today'
    """

    opening: str
    ending: str
    words: Mapping[str, str]

    def reword(self, caption: str) -> str:
        """Return the caption as this writer words it, in lower case and without a full stop."""
        return " ".join(
            filter(None, [self.opening, *(self.words.get(w, w) for w in tokens(caption)), self.ending])
        ).strip()


def writers(rng: np.random.Generator, count: int = WRITERS) -> tuple[Writer, ...]:
    """Draw writers; no two share opening, ending and all words."""
    drawn: dict[tuple[Any, ...], Writer] = {}
    while len(drawn) < count:
        opening, ending = (str(rng.choice(options)) for options in (OPENINGS, ENDINGS))
        words = {noun: str(rng.choice(options)) for noun, options in CHOICES.items()}
        drawn[(opening, ending, *words.values())] = Writer(opening, ending, words)
    return tuple(drawn.values())


def captions_for(fitted: FittedUserAwarePrefix, photos: Any, users: Sequence[str], run: Run) -> list[str]:
    """Return the best caption of each photo, written for its user; "" for a user is nobody."""
    best = [""] * len(users)
    for user in dict.fromkeys(users):
        chosen = tuple(i for i, writer in enumerate(users) if writer == user)
        speaker = fitted.for_user(user) if user else fitted
        for i, written in zip(chosen, speaker.caption(Subset(photos, chosen), run), strict=True):
            best[i] = written[0].value if written else ""
    return best


def open_writers(
    name: str,
    backbone: Backbone,
    run: Run,
    seeds: tuple[int, ...],
    *,
    arms: Mapping[str, UserAwarePrefix] = ARMS,
    count: int = WRITERS,
) -> Tabled:
    """Fit each arm on the posts of constructed writers, and caption held-out photos for them.

    The metric is the share of captions that a classifier of writers, trained on the posts, gives to the right writer.
    The part "cider_d" is CIDEr-D over 10, to the references in the writer's wording. The first arm also writes for the
    wrong users.
    """
    data = open_data(present(name), need="captions", text="caption_*")
    train, held_out = data.split("train"), data.split("val")
    captions = train.columns["captions"].values
    rows = [(i, str(c)) for i, texts in enumerate(captions) for c in texts if len(tokens(str(c))) <= SHORT]
    values: dict[str, list[Floats]] = {}
    others: dict[str, list[float]] = {}
    for seed in seeds:
        seeded = replace(run, seed=seed)
        rng = np.random.default_rng(seeded.integer("writers"))
        known, order = writers(rng, count), rng.permutation(len(rows))
        owner = rng.integers(count, size=len(rows))
        posts = [(known[w].reword(rows[k][1]),) for k, w in zip(order, owner, strict=True)]
        photos = Subset(train.items, tuple(rows[k][0] for k in order))
        names = [f"writer {w}" for w in owner]
        table = Table(photos, {"captions": Column("captions", posts), "user": Column("user", names)})
        wanted = rng.integers(count, size=len(held_out))
        wrong = (wanted + rng.integers(1, count, size=len(wanted))) % count
        references = [
            [known[w].reword(str(c)) for c in texts]
            for w, texts in zip(wanted, held_out.columns["captions"].values, strict=True)
        ]
        reader = make_pipeline(
            CountVectorizer(tokenizer=tokens, token_pattern=None, ngram_range=(1, 2), binary=True),
            LogisticRegression(C=10.0, max_iter=200),
        ).fit([post[0] for post in posts], owner)
        others.setdefault(CHANCE, []).append(float((reader.predict([r[0] for r in references]) == wanted).mean()))

        def judged(
            arm: str, lines: list[str], wanted: Any = wanted, references: Any = references, reader: Any = reader
        ) -> None:
            values.setdefault(arm, []).append((reader.predict(lines) == wanted).astype(np.float64))
            values.setdefault(f"{arm}, cider_d", []).append(cider_d(lines, references) / 10)

        speaker = next(iter(arms.values())).speaker(table, seeded)
        for i, (arm, method) in enumerate(arms.items()):
            fitted = method.prefixed(backbone, speaker, table, seeded)
            judged(arm, captions_for(fitted, held_out.items, [f"writer {w}" for w in wanted], seeded))
            if i == 0:
                judged("users exchanged", captions_for(fitted, held_out.items, [f"writer {w}" for w in wrong], seeded))
                judged("nobody", captions_for(fitted, held_out.items, [""] * len(wanted), seeded))
        values.setdefault(CHANCE, []).append(np.full(len(wanted), 1 / count))
    facts = {
        "data_hash": data.hash,
        "items": len(held_out),
        "posts": len(rows),
        "writers": f"{count}, constructed: an opening, an ending and words of choice over human captions",
        "right_on_human_captions": float(np.mean(others[CHANCE])),
    }
    stacked = {arm: np.stack(draws) for arm, draws in values.items()}
    means = {
        arm: {"cider_d": float(stacked[f"{arm}, cider_d"].mean())} for arm in stacked if f"{arm}, cider_d" in stacked
    }
    return Tabled(backbone, run, seeds, "writer_told", facts, stacked, means)
