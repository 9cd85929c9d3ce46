"""Choose settings of few-shot systems that hold for all data sets, for the rows "no val": without a validation set.

    DIPTYCH_DATA=... python -m tools.fixed_settings [SLUG ...]

Every candidate is fitted on 1, 4 and 16 shots of the data sets ``CHOSEN_ON``, with three seeds, and measured on their
test photos; the one with the highest mean gain over class names is the row of the card. So the figures of these rows on
ucmerced21 and on these domains of pacs_large, whose test photos took part in the choice, are too high by what choosing
gives; cifar10_large and clothing_large took no part, and caltech40_large has other test photos of the same classes.
Writes results/fixed-settings.json.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from diptych import catalog, load
from diptych.core import ClassNames, Evidence, Kit
from diptych.core.settings import with_settings
from diptych.data.load import open_data
from diptych.data.splits import few_shot
from diptych.data.words.templates import ENSEMBLE

FILE = Path(__file__).resolve().parents[1] / "results" / "fixed-settings.json"
CHOSEN_ON = ("caltech40", "ucmerced21", "pacs_large/photo", "pacs_large/sketch")
SHOTS, SEEDS = (1, 4, 16), (1, 2, 3)
VOTES = {"alpha": (0.5, 1.0, 2.0, 3.0), "beta": (1.0, 2.0, 5.5)}
"""Within the range that these systems search on val."""
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "linear-probe": {"C": (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)},
    "tip-adapter": VOTES,
    "tip-adapter-f": VOTES,
    "gda": {"alpha": (0.1, 1.0, 10.0, 100.0)},
}
"""System -> setting -> values that are tried; all combinations."""


def candidates(slug: str) -> list[dict[str, float]]:
    """Return the settings that are tried.

    Example:
        >>> candidates("gda")[:2]
        [{'alpha': 0.1}, {'alpha': 1.0}]
    """
    grid = GRIDS[slug]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def main(slugs: list[str]) -> None:
    """Fit and measure all candidates, and write the best ones; those of other systems stay."""
    model = load("lite")
    backbone, run = model.loaded, model.run
    result: dict[str, Any] = {"backbone": "lite", "chosen_on": CHOSEN_ON, "shots": SHOTS, "seeds": SEEDS, "systems": {}}
    kit = Kit({"main": backbone})
    cells = []
    for name in CHOSEN_ON:
        data = open_data(name)
        train, test = data.split("train"), data.splits.get("test") or data.split("val")
        classes = ClassNames(data.classes, ENSEMBLE)
        base = catalog.find("zero-shot")().fit(kit, classes, Evidence(), run)
        for shots, seed in itertools.product(SHOTS, SEEDS):
            shown = train.take(few_shot(train.labels(), shots, seed).tolist())
            right = (base.scores(test.items, run).predicted().numpy() == test.labels()).mean()
            cells.append((classes, shown, test, float(right)))
    if FILE.exists():
        result["systems"] = json.loads(FILE.read_text(encoding="utf-8"))["systems"]
    for slug in slugs or list(GRIDS):
        gains = {}
        for settings in candidates(slug):
            system = with_settings(catalog.find(slug)(), settings)
            each = []
            for classes, shown, test, right in cells:
                fitted = system.fit(kit, classes, Evidence(train=shown), run)
                predicted = fitted.scores(test.items, run).predicted().numpy()
                each.append(float((predicted == test.labels()).mean()) - right)
            gains[json.dumps(settings)] = round(float(np.mean(each)), 4)
        best = max(gains, key=lambda text: gains[text])
        result["systems"][slug] = {"settings": json.loads(best), "gain": gains[best], "tried": gains}
        print(slug, best, gains[best], flush=True)  # noqa: T201
        FILE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
