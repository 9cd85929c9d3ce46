"""Whether the gain that ``diptych recommend`` expects holds on test photos, which it did not look at.

    python -m recipes.recommendation_judge --out results/recommendation.json SET ...

Each set has test photos and train or val. The recommended system is fitted on these, as ``recommend`` fitted it, and
compared with class names alone on all test photos; nothing was chosen on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import diptych
from diptych.core import Kit
from diptych.data.files import write_json
from diptych.evaluation.few_shot.episodes import readable
from diptych.evaluation.recommendation import as_evidence, drawn_part, quick_systems, recommend
from diptych.metrics.interval import paired_bootstrap
from diptych.tasks.classify import with_store
from diptych.tasks.record import now
from diptych.verbs.names import names_of


def main() -> None:
    """Compare, and write one row for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, default=32)
    given = parser.parse_args()
    model, rows = diptych.load("lite"), []
    systems = dict(quick_systems())
    for name in given.sets:
        data = diptych.open_data(name, need="classes")
        classes = names_of(None, data.classes)
        with with_store(model.run) as run:
            advice = recommend(data, model, classes, run, most=given.most)
            test, _ = readable(data.split("test"), model, run)
            train, _ = readable(drawn_part(data, given.most, run), model, run)

            right = [
                systems[label]
                .fit(Kit({"main": model}), classes, as_evidence(systems[label], train), run)
                .scores(test.items, run)
                .ranked()
                .numpy()
                .argmax(1)
                == test.labels()
                for label in (advice.best.system, "zero-shot, ensemble")
            ]
            gain = paired_bootstrap(right[0][None], right[1][None], 0)
        expected = advice.expected
        rows.append({
            "data": data.name, "photos": advice.photos, "test": len(test), "system": advice.best.system,
            "expected": [expected.value, expected.low, expected.high],
            "highest": advice.best.gain.value if advice.best.gain else 0.0,
            "test_gain": [gain.value, gain.low, gain.high], "inside": expected.low <= gain.value <= expected.high,
        })  # fmt: skip
        print(rows[-1], flush=True)  # noqa: T201
        command = f"python -m recipes.recommendation_judge --out {given.out} {' '.join(given.sets)}"
        facts = {"kind": "recommendation", "backbone": "lite", "most": given.most, "date": now(), "command": command}
        write_json(given.out, {**facts, "sets": rows}, overwrite=True)


if __name__ == "__main__":
    main()
