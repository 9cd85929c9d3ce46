"""Repeat a written result and compare the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import Backbone, ClassNames, DataError, Run
from diptych.data.keys import FileKeys
from diptych.data.load import open_data
from diptych.data.words.pools import Pool, read_pool
from diptych.evaluation.arms import Loaded
from diptych.evaluation.few_shot.board import board
from diptych.evaluation.few_shot.gains import BASE
from diptych.evaluation.few_shot.loaded import read
from diptych.evaluation.few_shot.loaded import stated as about_of
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.tasks.record import engine_of, threads, versions
from proofs.prove import prove

TOLERANCE = 1e-6
"""Largest difference of a metric that counts as the same: other thread counts may change the last bits."""


@dataclass(frozen=True)
class Rerun:
    """Old and new numbers.

    Args:
        old: name -> number as written.
        new: the same names, measured now.
        tolerance: largest difference that counts as the same.
        notes: what differs between then and now, such as versions.
        skipped: what cannot be read now, and was left out.
    """

    old: Mapping[str, float]
    new: Mapping[str, float]
    tolerance: float
    notes: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def differing(self) -> dict[str, tuple[float, float]]:
        """Names whose numbers differ -> (old, new)."""
        pairs = {name: (value, self.new.get(name, math.nan)) for name, value in self.old.items()}
        return {name: (old, new) for name, (old, new) in pairs.items() if not abs(old - new) <= self.tolerance}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "same": not self.differing,
            "tolerance": self.tolerance,
            "metrics": {name: {"old": value, "new": self.new.get(name)} for name, value in self.old.items()},
            "notes": list(self.notes),
            "skipped": list(self.skipped),
        }


def rerun(
    written: Mapping[str, Any],
    backbone: Backbone,
    run: Run,
    *,
    tolerance: float = TOLERANCE,
    keys: FileKeys | None = None,
) -> Rerun:
    """Repeat a result: a row (``out/rows/*.json``), a board (``board.json``) or a proof (``results/*.json``).

    Args:
        written: the JSON object.
        backbone: the one it names, see ``backbone_of``.
        run: cache, progress and engine, see ``engines.kind_of``; device, precision and seeds are taken from the result.
        tolerance: largest difference of a number that counts as the same.
        keys: remembers content keys.

    Raises:
        DataError: the object is no result, or data or backbone are not those that it names.
    """
    fresh = Run(
        device=written.get("device", "cpu"),
        precision=written.get("precision_asked") or written.get("precision", "fp32"), cache=run.cache,
        progress=run.progress, engine=run.engine,
    )  # fmt: skip
    if written.get("fingerprint") != backbone.fingerprint:
        raise DataError(
            f"The result was made with another {backbone.spec.name}: its weights, tokenizer or pixels differ, so "
            f"nothing can be repeated."
        )
    if written.get("kind") == "proof":
        old = dict(_proof_numbers(written))
        again = prove(
            written["slug"],
            backbone,
            fresh,
            datasets=[d["dataset"] for d in written["datasets"]],
            seeds=written["seeds"],
            fitted=Path(written["fitted"]["folder"]) if "fitted" in written else None,
        ).as_dict()
        _same_folder(written.get("fitted"), again.get("fitted"))
        _same_data(
            {d["dataset"]: d["data_hash"] for d in written["datasets"]},
            {d["dataset"]: d["data_hash"] for d in again["datasets"]},
        )
        new, skipped = dict(_proof_numbers(again)), tuple(again["skipped"])
        return Rerun(old, new, tolerance, _notes(written, backbone, fresh), skipped)
    whole = written.get("kind") == "board"
    if whole and written.get("verb", "classify") != "classify":
        raise DataError(
            f"A board of {written['verb']} is repeated by its own command, with another --out: "
            f"{written.get('command')}."
        )
    try:
        source, classes = written["source"], ClassNames(tuple(written["classnames"]), tuple(written["templates"]))
        plan = _plan(written, whole)
    except (KeyError, TypeError) as error:
        raise DataError(f"This is no result that can be repeated: it lacks {error}.") from error
    data = open_data(source, keys, need="classes")
    measured = board(
        data,
        backbone,
        fresh,
        plan,
        classes=classes,
        texts=_texts(written, whole),
        unlabelled=_unlabelled(written, whole, keys),
        loaded=_loaded(written, whole, backbone, data.name, classes),
        source=source,
    )
    if measured.interrupted:  # half a board has other numbers, and has not been compared
        raise KeyboardInterrupt
    _same_data({source: written["data_hash"]}, {source: measured.facts["data_hash"]})
    notes = _notes(written, backbone, fresh)
    if whole:
        new = dict(_board_numbers(measured.as_dict()))
        return Rerun(dict(_board_numbers(written)), new, tolerance, notes, tuple(map(str, measured.failed)))
    row = tuple(written[name] for name in ("variant", "shots", "seed"))
    loaded = bool(written.get("fitted"))
    again = next(
        r for r in measured.records if (r.variant, r.shots, r.seed) == row and bool(r.fitted) == loaded
    ).as_dict()
    return Rerun(
        _numbers(written["metrics"]), _numbers(again["metrics"]), tolerance, notes, tuple(map(str, measured.failed))
    )


def backbone_of(written: Mapping[str, Any]) -> str:
    """Return the canonical name of the backbone that a result was made with.

    Raises:
        DataError: it names none.
    """
    name = written.get("backbone") or (written.get("spec") or {}).get("name")
    if not isinstance(name, str):
        raise DataError("This is no result of diptych: it names no backbone.")
    return name


def _plan(written: Mapping[str, Any], whole: bool) -> Plan:
    if whole:
        methods = tuple(dict.fromkeys(row["method"] for row in written["rows"] if "fitted" not in row)) or (BASE[0],)
        return Plan(methods, tuple(written["shots"]), tuple(written["seeds"]), written["val"])
    return Plan((written["method"],), (written["shots"] or 1,), (written["seed"],), written["val"] or "coop")


def _texts(written: Mapping[str, Any], whole: bool) -> Pool | None:
    """Return the text pool of a result, as long as it still holds the same texts."""
    source, key = (
        ((written.get("texts") or {}).get(n) for n in ("source", "hash"))
        if whole
        else map(written.get, ("texts", "texts_hash"))
    )
    if not source:
        return None
    pool = read_pool(source)
    if pool.hash != key:
        raise DataError(f"The texts of {source} are not those of the result: give back the old ones, or run anew.")
    return pool


def _loaded(
    written: Mapping[str, Any], whole: bool, backbone: Backbone, data: str, classes: ClassNames
) -> list[Loaded]:
    """Return the classifiers of folders of a result, as long as they are still the same.

    Raises:
        UsageError: a folder is not there any more.
        DataError: it holds something else now.
    """
    rows = written["rows"] if whole else [written]
    stated = [row["fitted"] for row in rows if row.get("fitted")]
    loaded = []
    for facts in stated:
        folder = Path(facts["folder"])
        loaded.append(read(folder, about_of(folder), backbone, data, classes))
        _same_folder(facts, loaded[-1].as_dict())
    return loaded


def _same_folder(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> None:
    if old and new and old["sha256"] != new["sha256"]:
        raise DataError(f"{old['folder']} does not hold what was measured: give back the old folder, or run anew.")


def _unlabelled(written: Mapping[str, Any], whole: bool, keys: FileKeys | None) -> Unlabelled | None:
    """Return the images without labels of a result, as long as they are still the same."""
    if whole:
        source, key = ((written.get("unlabelled") or {}).get(n) for n in ("source", "hash"))
    else:
        source, key = map(written.get, ("unlabelled", "unlabelled_hash"))
    if not source:
        return None
    images = Unlabelled.open(source, keys)
    if images.hash != key:
        raise DataError(f"The photos of {source} are not those of the result: give back the old ones, or run anew.")
    return images


def _same_data(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name, key in old.items():
        if new.get(name) != key:
            raise DataError(
                f"The files or labels of {name} are not those of the result: give back the old ones, or run anew."
            )


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    return {prefix + name: float(value) for name, value in metrics.items() if isinstance(value, (int, float))}


def _board_numbers(data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for row in data["rows"]:
        yield from _numbers(row["metrics"], f"{row['label']}, {row['shots']} shots, ").items()


def _proof_numbers(data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for d in data["datasets"]:
        for kind, items in (("claim", d["claims"]), ("control", d["controls"])):
            for item in items:
                gain, lower = item["gain"], item["gain_lower95"]
                # before 2 December 2026 the bound of gains that are all equal was the gain itself
                compared = {"gain": gain} if gain == lower else {"gain": gain, "lower": lower}
                yield from _numbers(compared, f"{d['dataset']}, {kind} at {item['shots']} shots, ").items()


def _notes(written: Mapping[str, Any], backbone: Backbone, run: Run) -> tuple[str, ...]:
    now = versions()
    notes = [
        f"{name} was {old} and is {now.get(name, 'absent')}"
        for name, old in (written.get("versions") or {}).items()
        if now.get(name) != old
    ]
    if written.get("threads") not in (None, threads()):
        notes.append(f"threads were {written['threads']} and are {threads()}")
    engine = engine_of(backbone, run)
    if written.get("engine", "torch") != engine:
        notes.append(f"the engine was {written.get('engine', 'torch')} and is {engine}")
    return tuple(notes)
