"""The text head of ``lite`` goes on learning: names of ImageNet's classes as often as all other nouns together; and the
mean of photos leaves its vectors.

python -m recipes.lite_names --counts cntlist.rev --data DATA --work WORK      writes assets/lite/names.safetensors

    L = - sum over classes of (q log q')(name)  -  sum over classes of (q0 log q')(noun)

q: target of a name, see ``recipes.lite_heads``; q0: what the heads of ``lite:2026-11`` answer for a noun, drawn as they
drew it; q': the head in training.

Those heads gave "a photo of a tench." a share of 0.44 on average of its own class, and another class the largest share
for 22 of 100 names, so that ImageNet's own photos were classified worse than by the classifier itself.

The mean m of the image vectors of photos says how near a text lies to any photo. It is taken out of the text vectors,

    t <- unit(t - (t m) m),      m = unit(mean over sources of the mean over their photos)

so that no name wins for lying near to all of them. The photos are those of ``recipes.lite_pictures``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.lite import Lite, load_lite
from diptych.backbones.lite_files import HEADS, NAMES
from diptych.backbones.spec import file_hash
from diptych.core import Run
from diptych.data.images import open_image
from diptych.data.words.sentences import article
from diptych.data.words.wordnet import WordNet
from diptych.tasks.record import now, versions
from recipes.lite_heads import DROPOUT, FRAMES, Nouns, Reader, chances, described, imagenet, nouns, read_counts, targets
from recipes.lite_pictures import photo_paths

STEPS, BATCH, RATE = 400, 256, 5e-4
"""Steps of so many names and so many nouns, and the highest learning rate."""
NOUNS, FORMS = 10_000, 3
"""Other nouns, and random frames of each name beside the bare one and "a photo of a NAME."."""


def names_of_classes(words: Nouns) -> list[int]:
    """Return the numbers of the nouns that name an ImageNet class, in alphabetical order."""
    number = {s.offset: i for i, s in enumerate(words.senses)}
    senses = [words.senses[number[int(wnid[1:])]] for wnid in imagenet()]
    wanted = {lemma.lower() for s in senses for lemma in s.lemmas}
    return [n for n, lemma in enumerate(words.lemmas) if lemma in wanted]


def some(words: Nouns, rows: Sequence[int]) -> Nouns:
    """Return some of the nouns, with the senses that they have."""
    senses = sorted({i for n in rows for i, _ in words.weights[n]})
    number = {i: k for k, i in enumerate(senses)}
    return Nouns(
        tuple(words.lemmas[n] for n in rows),
        tuple(words.senses[i] for i in senses),
        tuple(tuple((number[i], w) for i, w in words.weights[n]) for n in rows),
        words.counts[list(rows)],
        words.classes[senses],
    )


def framed(read: Reader, title: str, lemmas: Sequence[str], forms: int, run: Run) -> Tensor:
    """Return (2 + forms, N, 384) MiniLM vectors of nouns: bare, after "a photo of", and in random frames."""
    spoken = [
        (f"{title} bare", list(lemmas)),
        (f"{title} photo", [f"a photo of {article(n)}." for n in lemmas]),
    ]
    for form in range(forms):
        picks = np.random.default_rng(run.integer(f"frames/{title}/{form}")).integers(len(FRAMES), size=len(lemmas))
        texts = [FRAMES[k].replace("{}", n) for k, n in zip(picks, lemmas, strict=True)]
        spoken.append((f"{title} frames {form}", texts))
    return torch.from_numpy(np.stack([read(name, texts) for name, texts in spoken]))


def go_on(mlp: nn.Sequential, names: Tensor, q: Tensor, others: Tensor, run: Run) -> float:
    """Train a text head in place, and return its last loss.

    Args:
        mlp: text vector to class logits.
        names: (forms, N, 384) vectors of the names.
        q: (N, 1000) their targets.
        others: (forms, M, 384) vectors of other nouns, for which it is to answer as before.
        run: its seed.
    """
    with torch.inference_mode():
        before = mlp(others).softmax(-1)
    with run.seeded("names"):
        learner = nn.Sequential(mlp[0], mlp[1], nn.Dropout(DROPOUT), mlp[2]).train().requires_grad_()
        optimizer = torch.optim.AdamW(learner.parameters(), RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS + 1)
        g, loss = run.generator("batches"), torch.zeros(())
        for _ in range(STEPS):
            x, y = [], []
            for vectors, wanted in ((names, q.expand(len(names), -1, -1)), (others, before)):
                form = torch.randint(len(vectors), (BATCH,), generator=g)
                row = torch.randint(vectors.shape[1], (BATCH,), generator=g)
                x.append(vectors[form, row])
                y.append(wanted[form, row])
            loss = -(torch.cat(y) * learner(torch.cat(x)).log_softmax(-1)).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    learner.eval().requires_grad_(False)
    return float(loss.detach())


def photos_by_source(data: Path) -> dict[str, list[Path]]:
    """Return the photos of ``recipes.lite_pictures`` by the set that they come from."""
    sources: dict[str, list[Path]] = {}
    for path in photo_paths(data):
        sources.setdefault(path.relative_to(data).parts[0], []).append(path)
    return sources


@torch.inference_mode()
def image_vectors(lite: Lite, paths: Sequence[Path]) -> Tensor:
    """Return the (N, D) image vectors of photos."""
    batches = ([open_image(path) for path in paths[i : i + 32]] for i in range(0, len(paths), 32))
    return torch.cat([lite.image.encode(lite.image.inputs(some)) for some in batches])


def mean_photo(lite: Lite, data: Path) -> Tensor:
    """Return the (2664,) unit mean of the image vectors of photos, each source counting the same."""
    means = [image_vectors(lite, paths).mean(0) for paths in photos_by_source(data).values()]
    return normalize(torch.stack(means).mean(0), dim=0)


def train(counts: Path, data: Path, work: Path, out: Path, seed: int = 0) -> dict[str, Any]:
    """Train the head from that of ``lite:2026-11``, and write all heads.

    Args:
        counts: WordNet's cntlist.rev.
        data: folder of the development sets, of which photos are read for their mean, without labels.
        work: folder for MiniLM's vectors.
        out: safetensors file.
        seed: fixes everything.

    Returns:
        Counts, the last loss, and the file's hash.
    """
    wordnet, read, run = WordNet.load(), Reader(work), Run(seed=seed)
    words = nouns(wordnet, read_counts(counts))
    named = some(words, names_of_classes(words))
    classes = read("classes", [described(wordnet.wnid(w)) for w in imagenet()])
    glosses = read("some glosses", [described(s) for s in named.senses])
    q = torch.from_numpy(targets(named, glosses, classes, classes.mean(0)))
    g = np.random.default_rng(run.integer("nouns"))
    drawn: NDArray[np.int64] = g.choice(len(words.lemmas), NOUNS, replace=False, p=chances(words))
    others = framed(read, "nouns", [words.lemmas[n] for n in drawn], 1, run)
    head = load_lite("lite:2026-11").module().text_head
    loss = go_on(head.mlp, framed(read, "names", named.lemmas, FORMS, run), q, others, run)
    state = load_file(HEADS) | {f"mlp.{n}": t.half() for n, t in head.mlp.state_dict().items()}
    save_file(state, out)
    save_file(state | {"mean": mean_photo(load_lite(heads=out), data)}, out)
    return {"names": len(named.lemmas), "nouns": NOUNS, "steps": STEPS, "loss": loss, "sha256": file_hash(out)}


def main(words: Sequence[str] | None = None) -> None:
    """Train, and print what was done."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_names", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=Path, required=True, help="WordNet's cntlist.rev")
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for MiniLM's vectors")
    parser.add_argument("--out", type=Path, default=NAMES, help="where the heads are written")
    given = parser.parse_args(words)
    result = train(given.counts, given.data, given.work, given.out)
    sys.stdout.write(json.dumps({**result, "date": now(), "versions": versions()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
