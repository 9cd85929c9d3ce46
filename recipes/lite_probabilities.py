"""How sure ``lite`` may be, for each of its weights: the numbers of ``backbones.lite_sharpness``, fitted on proxies,
and the calibration error that is left, on other proxies and on the development sets.

python -m recipes.lite_probabilities fit --data DATA --work WORK
python -m recipes.lite_probabilities judge --data DATA --work WORK --out results/lite-probabilities.json

    w = argmin of the mean over tasks of  - mean over pictures of  log softmax(t cosines)[true name],   ln t = facts w

A task is one look of the pictures under one list of names: everyday words, the own names of the ImageNet classes, or
the names of drawings, all of them or 3, 7, 15 or 40 drawn ones. Even photos and even names of drawings are fitted on,
the others measured on. WORK is the folder of ``recipes.lite_tower prepare``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from diptych import load
from diptych.api.model import Model
from diptych.backbones.lite_sharpness import FITTED, facts
from diptych.core import ClassNames, Run
from diptych.data.words.classnames import tidy
from diptych.data.words.sentences import article
from diptych.data.words.templates import ENSEMBLE
from diptych.data.words.wordnet import WordNet
from diptych.features.heads import text_head
from diptych.metrics.axes.calibration import error_interval
from diptych.metrics.calibration import weighted_calibration_error
from diptych.metrics.interval import two_sided
from diptych.tasks.record import now, versions
from recipes.lite_proxies import everyday, proxies
from recipes.lite_tower import held_out_drawings
from recipes.lite_tower_judge import ROWS
from recipes.photo_sets import photos

MODELS = ("lite:2026-11", "lite:views", "lite")
PROMPTINGS = ("prompt", "ensemble")
SIZES, DRAWS = (3, 7, 15, 40), 6
"""Names of a drawn list, and lists of each size."""
RESAMPLES = 1000
OWN = "own names"
Floats = NDArray[np.float64]
Numbers = tuple[float, float, float, float]


@dataclass(frozen=True)
class Task:
    """Pictures of one look under one list of names.

    Args:
        look: of the pictures.
        names: title of the list.
        cosines: (N, K).
        labels: (N,).
        facts: (N, 4), see ``lite_sharpness.facts``.
        odd: (N,) True for pictures that are measured, False for those that are fitted on.
    """

    look: str
    names: str
    cosines: Floats
    labels: NDArray[np.int64]
    facts: Floats
    odd: NDArray[np.bool_]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(N,) whether the first name is right."""
        return np.asarray(self.cosines.argmax(axis=1) == self.labels)

    def half(self, *, odd: bool) -> Task:
        """Return the pictures of one half."""
        return self.take(np.flatnonzero(self.odd == odd))

    def take(self, rows: NDArray[np.int64], names: NDArray[np.int64] | None = None) -> Task:
        """Return some pictures, perhaps under some of the names, all of which include theirs."""
        cosines, labels, facts_of = self.cosines[rows], self.labels[rows], self.facts[rows]
        if names is not None:
            cosines, labels = cosines[:, names], np.searchsorted(names, labels)
            nearest = facts(np.ones((len(rows), 1)), cosines.max(axis=1))[:, 2:]
            facts_of = np.hstack([facts_of[:, :2], nearest])
        return Task(self.look, self.names, cosines, labels, facts_of, self.odd[rows])

    def sure(self, w: Numbers) -> Floats:
        """Return the (N,) probabilities of the first names under w."""
        scales = np.exp(self.facts @ np.array(w))
        return np.asarray(softmax(scales[:, None] * self.cosines, axis=1).max(axis=1))


def task(look: str, names: str, vectors: Floats, head: Floats, labels: NDArray[np.int64], odd: Any = True) -> Task:
    """Return the task of (N, D) unit image vectors and (K, D) unit text vectors."""
    cosines = vectors @ head.T
    parity = np.broadcast_to(np.asarray(odd, dtype=bool), len(labels))
    return Task(look, names, cosines, labels, facts(vectors, cosines.max(axis=1)), parity)


def tasks(measured_tasks: Sequence[Task], *, odd: bool, seed: int = 0) -> Iterator[Task]:
    """Yield the tasks of one half of the pictures: each whole list, then drawn ones of names that occur."""
    g = np.random.default_rng(Run(seed=seed).integer(f"lists/{odd}"))
    for whole in measured_tasks:
        one = whole.half(odd=odd)
        yield one
        present = np.unique(one.labels)
        for size in (s for s in SIZES if s < len(present)):
            for _ in range(DRAWS):
                chosen = np.sort(g.choice(present, size, replace=False))
                yield one.take(np.flatnonzero(np.isin(one.labels, chosen)), chosen)


def fitted(measured_tasks: Sequence[Task], *, columns: int = 4) -> Numbers:
    """Return the w that makes the labels likeliest, every task counting the same; 0 beyond the first ``columns``."""

    def loss(w: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(columns)
        for t in measured_tasks:
            x, rows = t.facts[:, :columns], np.arange(len(t.labels))
            scales = np.exp(np.clip(x @ w, -5, 8))
            log_p = log_softmax(scales[:, None] * t.cosines, axis=1)
            value -= log_p[rows, t.labels].mean()
            pull = (np.exp(log_p) * t.cosines).sum(axis=1) - t.cosines[rows, t.labels]
            slope += (pull * scales) @ x / len(rows)
        return value / len(measured_tasks), slope / len(measured_tasks)

    start = np.array([3.0, *[0.0] * (columns - 1)])
    w = [float(v) for v in minimize(loss, start, jac=True, method="L-BFGS-B").x] + [0.0] * (4 - columns)
    return w[0], w[1], w[2], w[3]


def measured(held: Sequence[Task], arms: Mapping[str, Numbers], run: Run) -> dict[str, Any]:
    """Return the calibration error of whole lists, with intervals, and its mean by the length of the list.

    Args:
        held: tasks that nothing was fitted on.
        arms: name -> w.
        run: seed of the bootstraps.

    Returns:
        "proxies": look and list -> pictures, names, top-1, and for each arm the error with its ends. "mean": over
        everyday words and drawings, by arm. "mean_of_lists": names in the list -> arm -> mean over looks and titles;
        the lists of one length are measured together, since one of 3 names has some ten pictures.
    """
    whole: dict[str, Any] = {}
    alike: dict[tuple[int, str, str], list[Task]] = {}
    for t in held:
        length = t.cosines.shape[1]
        alike.setdefault((length, t.look, t.names), []).append(t)
        if length not in SIZES:
            about = {"pictures": len(t.labels), "names": length, "top1": float(t.hits.mean())}
            whole[f"{t.look}, {t.names}"] = {**about, **{arm: errors_of(t, w, run) for arm, w in arms.items()}}
    eight = [row for title, row in whole.items() if not title.endswith(OWN)]
    lengths: dict[int, dict[str, list[float]]] = {}
    for (length, _, _), lists in sorted(alike.items()):
        hits = np.concatenate([t.hits for t in lists])
        for arm, w in arms.items():
            sure = np.concatenate([t.sure(w) for t in lists])
            error = weighted_calibration_error(sure, hits, np.ones((1, len(hits))))[0]
            lengths.setdefault(length, {}).setdefault(arm, []).append(float(error))
    return {
        "proxies": whole,
        "mean": {arm: float(np.mean([row[arm]["value"] for row in eight])) for arm in arms},
        "mean_of_lists": {n: {arm: float(np.mean(v)) for arm, v in by.items()} for n, by in lengths.items()},
    }


def errors_of(t: Task, w: Numbers, run: Run) -> dict[str, float]:
    """Return the calibration error under w with its 95 % interval."""
    return dict(zip(("value", "low", "high"), error_interval(t.sure(w), t.hits, run), strict=True))


def fall(measured_tasks: Sequence[Task], before: Numbers, after: Numbers, run: Run) -> dict[str, float]:
    """Return by how much the mean error over everyday words and drawings falls, with a paired 95 % interval: photos are
    resampled, and all looks of a photo with it.
    """
    g = np.random.default_rng(run.integer("fall"))
    kept = [one.half(odd=True) for one in measured_tasks if one.names != OWN]
    counts: dict[int, Floats] = {}
    falls = np.zeros(RESAMPLES + 1)
    for one in kept:
        n = len(one.labels)
        if n not in counts:
            counts[n] = np.vstack([np.ones(n), g.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
        errors = [weighted_calibration_error(one.sure(w), one.hits, counts[n]) for w in (before, after)]
        falls += (errors[0] - errors[1]) / len(kept)
    return asdict(two_sided(float(falls[0]), falls[1:], units=min(counts), possible=(-1.0, 1.0)))


def looked(model: Model, data: Path, work: Path) -> dict[str, list[Task]]:
    """Return prompting -> every look of the proxies under its whole lists of names."""
    with (data / "imagenet1k_sample" / "labels.csv").open(encoding="utf-8", newline="") as file:
        wnids = [row["wnid"] for row in csv.DictReader(file)]
    words = WordNet.load()
    folder_names = [words.wnid(w).lemmas[0] for w, word in zip(wnids, everyday(words, wnids), strict=True) if word]
    fine = tuple(sorted(set(folder_names)))
    out: dict[str, list[Task]] = {prompting: [] for prompting in PROMPTINGS}
    for proxy in proxies(data, held_out_drawings(work)):
        z = model.encode_image([Image.fromarray(picture) for picture in proxy.pictures]).astype(np.float64)
        drawn = "drawings" in proxy.name
        odd = (proxy.labels if drawn else np.arange(len(proxy.labels))) % 2 == 1
        lists = [("drawings" if drawn else "everyday words", proxy.classes, proxy.labels)]
        if not drawn:
            lists.append((OWN, fine, np.array([fine.index(n) for n in folder_names])))
        for title, names, labels in lists:
            for prompting in PROMPTINGS:
                out[prompting].append(task(proxy.name, title, z, head(model, names, prompting), labels, odd))
    return out


def head(model: Model, names: Sequence[str], prompting: str) -> Floats:
    """Return the (K, D) unit vectors of names: of "a photo of a NAME.", or of the ensemble that is the default."""
    prompts = (
        [[f"a photo of {article(n)}."] for n in names]
        if prompting == "prompt"
        else ClassNames.of(names, ENSEMBLE).prompts()
    )
    return text_head(model, prompts, model.run).double().numpy()


def development(model: Model, data: Path, arms: Mapping[str, Numbers], run: Run) -> dict[str, Any]:
    """Return set -> prompting -> arm -> calibration error with its interval; and the means over sets."""
    rows: dict[str, Any] = {}
    for title, name, part in ROWS:
        table, classes = photos(data, name, part)
        z, names = model.encode_image(table.items).astype(np.float64), [tidy(c) for c in classes]
        rows[title] = {"photos": len(z), "names": len(names)}
        for prompting in PROMPTINGS:
            t = task(title, "classes", z, head(model, names, prompting), table.labels())
            rows[title][prompting] = {arm: errors_of(t, w, run) for arm, w in arms.items()}
    return {
        "sets": rows,
        "mean": {
            p: {arm: float(np.mean([row[p][arm]["value"] for row in rows.values()])) for arm in arms}
            for p in PROMPTINGS
        },
    }


def judge(
    data: Path, work: Path, names: Sequence[str] = MODELS, *, only_fit: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Fit models on even pictures; measure what ships on odd ones and on the development sets, or ``only_fit``."""
    run = Run(seed=seed)
    out: dict[str, Any] = {}
    for name in names:
        model = load(name)
        looks = looked(model, data, work)
        even = [t for p in PROMPTINGS for t in tasks(looks[p], odd=False, seed=seed)]
        published = (float(np.log(float(model.scale()[0]))), 0.0, 0.0, 0.0)
        arms = {"backbone": published, "one_scale": fitted(even, columns=1), "certainty": fitted(even, columns=2)}
        out[name] = {"fitted": {**arms, "sharpness": fitted(even)}}
        if only_fit:
            continue
        arms["sharpness"] = FITTED[model.image.fingerprint]
        out[name] |= {
            "ships": arms["sharpness"],
            "held_out": {
                p: {
                    **measured(list(tasks(looks[p], odd=True, seed=seed)), arms, run),
                    "fall_of_mean": fall(looks[p], published, arms["sharpness"], run),
                }
                for p in PROMPTINGS
            },
            "development": development(model, data, arms, run),
        }
    return out


def main(words: Sequence[str] | None = None) -> None:
    """Fit, measure and write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.lite_probabilities", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("step", choices=("fit", "judge"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the development sets")
    parser.add_argument("--work", type=Path, required=True, help="folder of recipes.lite_tower prepare")
    parser.add_argument("--models", nargs="*", default=MODELS, help="the others stay in OUT as they are")
    parser.add_argument("--out", type=Path, help="result")
    options = parser.parse_args(words)
    result = judge(options.data, options.work, options.models, only_fit=options.step == "fit")
    if options.out and options.out.is_file():
        result = {**json.loads(options.out.read_text(encoding="utf-8")), **result}
    about = {"command": f"python -m recipes.lite_probabilities {options.step}", "date": now(), "versions": versions()}
    text = json.dumps({**result, **about}, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
