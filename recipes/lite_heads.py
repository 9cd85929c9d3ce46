"""How the heads of ``lite:2026-11`` were made: WordNet says which ImageNet classes a noun is near to, and a small
network learns it from MiniLM.

    python -m recipes.lite train --counts cntlist.rev --work WORK      writes assets/lite/heads.safetensors
    python -m recipes.lite judge --data DATA --out results/lite-heads.json

The target of a noun is a distribution over the 1,000 classes. For a sense s and a class c, let n(s, c) be the number of
ImageNet classes below the narrowest synset that lies above both (or is one of them). Then

    q_s(c) ~ n(s, c)^-beta exp(gamma cos(gloss_s, gloss_c)),      0 where n(s, c) covers nearly all classes
    q      = sum over senses of w_s q_s,     w_s ~ (1 + count_s) 2^-rank

Supervision is WordNet 3.0 (tree, glosses, sense counts), ImageNet's class names and Lite0's own classifier; no photo,
caption or class list of any data set enters a target.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from diptych.backbones.lite_parts import TextHead, image_tower, text_tower
from diptych.core import NotAvailable, Run
from diptych.data.words.sentences import article
from diptych.data.words.wordnet import Synset, WordNet

BETA, GAMMA, HIDDEN, EPOCHS, BATCH, RATE, DROPOUT = 1.5, 12.0, 1536, 16, 512, 2e-3, 0.1
COVERS_ALL = 900
PHYSICAL = 1930
"""WordNet's "physical entity": photographs show what lies below it."""
FRAMES = (
    "a {}", "a photo of a {}.", "a close-up photo of the {}", "{}s", "there is {} in the picture",
    "this is a {}, a type of thing",
    "an image showing {}", "a blurry low resolution photo of a {}.", "the {}",
)  # fmt: skip


@dataclass(frozen=True)
class Nouns:
    """What the text head learns from.

    Args:
        lemmas: N nouns.
        senses: S synsets.
        weights: N rows of (sense number, weight), weights summing to 1.
        counts: (N,) how often the noun occurs in WordNet's tagged corpus.
        classes: (S, 1000) n(s, c).
    """

    lemmas: tuple[str, ...]
    senses: tuple[Synset, ...]
    weights: tuple[tuple[tuple[int, float], ...], ...]
    counts: NDArray[np.float32]
    classes: NDArray[np.float32]


def imagenet() -> list[str]:
    """Return the 1,000 WordNet ids in the order of Lite0's classes."""
    from timm.data import ImageNetInfo

    return [str(ImageNetInfo().index_to_label_name(i)) for i in range(1000)]


def described(s: Synset) -> str:
    """Return "dog, domestic dog, Canis familiaris: a member of ...": names and definition, as MiniLM reads them."""
    return f"{', '.join(s.lemmas)}: {s.definition}"


def read_counts(path: Path) -> dict[tuple[str, int], int]:
    """Read WordNet's cntlist.rev: (noun, number of the sense from 1) -> occurrences.

    Raises:
        NotAvailable: there is no such file.
    """
    if not path.is_file():
        raise NotAvailable(f"No sense counts at {path}: give cntlist.rev of WordNet 3.0 (Debian package wordnet-base).")
    out = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, number, count = line.split()
        lemma, place = key.split("%")
        if place.startswith("1"):
            out[lemma.replace("_", " "), int(number)] = int(count)
    return out


def nouns(words: WordNet, counts: Mapping[tuple[str, int], int]) -> Nouns:
    """Collect the nouns for physical things, their senses, and how near each sense is to each ImageNet class."""
    broader: dict[int, tuple[int, ...]] = {}
    synsets = {int(o): words.synset(int(o)) for o in words.offsets}

    def above(offset: int) -> tuple[int, ...]:
        if offset not in broader:
            ancestors = {offset: None} | {a: None for up in synsets[offset].hypernyms for a in above(up)}
            broader[offset] = tuple(ancestors)
        return broader[offset]

    below: dict[int, list[int]] = {}
    for i, wnid in enumerate(imagenet()):
        for a in above(int(wnid[1:])):
            below.setdefault(a, []).append(i)
    kept = [s for o, s in synsets.items() if not s.instance and (PHYSICAL in above(o) or o in below)]
    number = {s.offset: i for i, s in enumerate(kept)}
    covers = np.full((len(kept), 1000), 1000, np.float32)
    for i, s in enumerate(kept):
        for a in sorted((a for a in above(s.offset) if a in below), key=lambda a: -len(below[a])):
            covers[i, below[a]] = len(below[a])
    lemmas = sorted({lemma.lower() for s in kept for lemma in s.lemmas})
    weights, seen = [], np.zeros(len(lemmas), np.float32)
    for n, lemma in enumerate(lemmas):
        row: list[tuple[int, float]] = []
        for rank, sense in enumerate(words.senses(lemma), 1):
            seen[n] += counts.get((lemma, rank), 0)
            if sense.offset in number:
                row.append((number[sense.offset], (1 + counts.get((lemma, rank), 0)) * 0.5 ** len(row)))
        total = sum(w for _, w in row)
        weights.append(tuple((i, w / total) for i, w in row))
    return Nouns(tuple(lemmas), tuple(kept), tuple(weights), seen, covers)


def targets(
    words: Nouns, glosses: NDArray[np.float32], classes: NDArray[np.float32], middle: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the (N, 1000) distributions of the nouns.

    Args:
        words: nouns and their places in the tree.
        glosses: (S, 384) MiniLM vectors of the senses.
        classes: (1000, 384) MiniLM vectors of the classes.
        middle: (384,) mean of ``classes``.
    """

    def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
        return scaled

    q = words.classes**-BETA * np.exp(GAMMA * (unit(glosses - middle) @ unit(classes - middle).T))
    q[words.classes >= COVERS_ALL] = 0
    total = q.sum(1, keepdims=True)
    q = np.where(total > 0, q / np.maximum(total, 1e-30), 1e-3)
    return np.stack([sum(w * q[i] for i, w in row) for row in words.weights]).astype(np.float32)


def chances(words: Nouns) -> NDArray[np.float64]:
    """Return the (N,) chances with which nouns are drawn: usual ones, and those near a class, more often."""
    near = np.array([sum(w for i, w in row if words.classes[i].min() <= 20) for row in words.weights])
    drawn = ((0.15 + np.log1p(words.counts)) * (0.3 + near)) ** 0.5
    return np.asarray(drawn / drawn.sum(), dtype=np.float64)


class Reader:
    """MiniLM's unit vectors of texts, remembered in a folder so that a second run starts where the first stopped.

    Args:
        work: folder.
    """

    def __init__(self, work: Path) -> None:
        from tokenizers import Tokenizer

        self.model, folder = text_tower()
        self.tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokens.no_padding()
        self.tokens.enable_truncation(128)
        self.work = work
        work.mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def __call__(self, name: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(texts), 384) float32 of float16 precision."""
        path = self.work / f"{name}-{zlib.crc32(chr(10).join(texts).encode()):08x}.npy"
        if path.is_file():
            kept: NDArray[np.float16] = np.load(path, allow_pickle=False)
            return kept.astype(np.float32)
        rows = [row.ids for row in self.tokens.encode_batch(list(texts))]
        out = np.zeros((len(rows), 384), np.float16)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for start in range(0, len(order), 128):
            some = order[start : start + 128]
            length = len(rows[some[-1]])
            ids = torch.tensor([rows[i] + [0] * (length - len(rows[i])) for i in some])
            mask = torch.tensor([[1] * len(rows[i]) + [0] * (length - len(rows[i])) for i in some])
            h = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            out[some] = F.normalize((h * mask[..., None]).sum(1), dim=-1).half().numpy()
        np.save(path, out)
        return out.astype(np.float32)


def train(counts: Path, work: Path, out: Path, seed: int = 0) -> dict[str, Any]:
    """Train the text head and write all heads.

    Args:
        counts: WordNet's cntlist.rev.
        work: folder for MiniLM's vectors of all nouns.
        out: safetensors file.
        seed: fixes everything.

    Returns:
        Settings, seconds and the last loss.
    """
    from safetensors.torch import save_file

    started = time.perf_counter()
    words, read, run = WordNet.load(), Reader(work), Run(seed=seed)
    chosen = nouns(words, read_counts(counts))
    classes = read("classes", [described(words.wnid(w)) for w in imagenet()])
    middle = classes.mean(0)
    y = torch.from_numpy(targets(chosen, read("glosses", [described(s) for s in chosen.senses]), classes, middle))
    pick = np.random.default_rng(run.integer("frames")).integers(len(FRAMES), size=len(chosen.lemmas))
    x = torch.from_numpy(
        np.stack(
            [
                read("bare", chosen.lemmas),
                read("photo", [f"a photo of {article(n)}." for n in chosen.lemmas]),
                read("frames", [FRAMES[k].replace("{}", n) for k, n in zip(pick, chosen.lemmas, strict=True)]),
            ]
        )
    )
    ladder = torch.from_numpy(np.cumsum(chances(chosen)))
    _, classifier = image_tower()
    looks = (classifier.weight - classifier.weight.mean(0)).detach()
    with run.seeded("head"):
        head = TextHead(looks, torch.from_numpy(middle), HIDDEN)
        learner = torch.nn.Sequential(head.mlp[0], head.mlp[1], torch.nn.Dropout(DROPOUT), head.mlp[2])
        steps = EPOCHS * len(y) // BATCH
        optimizer = torch.optim.AdamW(learner.parameters(), RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
        g = run.generator("batches")
        loss = torch.zeros(())
        # Not the one loop: nouns are drawn with replacement by weight, and the shipped weights are these draws.
        for _ in range(steps):
            rows = torch.searchsorted(ladder, torch.rand(BATCH, generator=g, dtype=torch.double)).clamp_max(len(y) - 1)
            frames = torch.randint(3, (BATCH,), generator=g)
            loss = -(y[rows] * learner(x[frames, rows]).log_softmax(-1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    state = {f"mlp.{n}": t.detach().half() for n, t in head.mlp.state_dict().items()}
    state |= {
        "glosses": torch.from_numpy(classes - middle).half(),
        "middle": torch.from_numpy(middle),
        "scale": torch.tensor(30.0),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, out)
    return {
        "nouns": len(y),
        "senses": len(chosen.senses),
        "steps": steps,
        "loss": float(loss.detach()),
        "seconds": time.perf_counter() - started,
    }
