"""What the default cut of ``lite`` is worth for words that nobody tuned on: common and rare nouns, activities, looks
and compounds out of captions, beside the queries of ``recipes.search_truth``.

python -m recipes.lite_cut_words --data DATA --backbones lite lite:512 --out results/lite-cut-words.json
                                 --ships src/diptych/assets/lite/cut.json

A *cell* is a group of words of one set and one kind (``tasks.search.word_kind``). Its share is that of right answers
above the cut that ships, with one more that is wrong, among the first ``DEPTH``; cells with fewer than ``LEAST``
answers of ``LEAST_QUERIES`` queries are left out. What is stated of a kind is the mean of its cells and, as range, the
lowest and the highest of them: of k cells that are exchangeable with one that comes, it lies below the lowest with
probability 1 / (k + 1). *Judged*: for each set, whether its cells lie in the range of the other sets.

*Absent*: ``NOUNS`` nouns of WordNet for physical things, none of them one that the index draws, that nothing in the
index names, drawn by the seed: the share of them with an answer above the cut.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import diptych
from benchmarks.cut import Searched, answers
from diptych.data.load import open_records
from diptych.data.words.nouns import NOT_NOUNS, is_object, nouns, singular
from diptych.data.words.wordnet import WordNet
from diptych.search_index.index import Index
from diptych.tasks.search.absent import absent_nouns, draw_absent, encoded, picture_nouns
from diptych.tasks.search.index import index
from diptych.tasks.search.word_kind import Kind, word_kind
from recipes.lite_cut import curve, right_above
from recipes.search_truth import SETS, Truth

LEAST, LEAST_QUERIES, NOUNS, SEED = 20, 5, 300, 0
CAPTIONED = {"flickr8k_small": 10, "coco_mini": 5}
"""Set -> photos whose captions name a noun, from which it is common; up to ``RARE`` it is rare."""
RARE = 3
KINDS: tuple[Kind, ...] = ("thing", "other")
COMMAND = "python -m recipes.lite_cut_words --data DATA --backbones {} --out results/lite-cut-words.json"
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_FUNCTION_WORDS = """the and are with his her their its for from into out over down off near while being that
this there has have two three one four some other each them she they who which another"""
_FUNCTION = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class Cell:
    """Words of one group and kind of a set, and what was found with them."""

    group: str
    kind: Kind
    found: Searched


def word_groups(captions: Mapping[str, Sequence[str]], common: int, wordnet: WordNet) -> dict[str, Truth]:
    """Return group -> word -> files whose captions hold it; of nouns also narrower ones.

    Args:
        captions: file -> its captions.
        common: photos that name a noun, from which it is common.
        wordnet: tells which words are nouns for things.
    """
    named, doing, looks, pairs = Truth(), Truth(), Truth(), Truth()
    for file, texts in captions.items():
        for text in texts:
            for noun in nouns(text, wordnet):
                named.setdefault(noun, set()).add(file)
            words = _WORD.findall(text.lower().replace("'s", " "))
            for word, after in zip(words, [*words[1:], ""], strict=True):
                thing = _thing(word, wordnet)
                if word.endswith("ing") and len(word) > 5 and thing is None:
                    doing.setdefault(word, set()).add(file)
                elif len(word) > 2 and word not in _FUNCTION and (head := _thing(after, wordnet)) is not None:
                    pairs.setdefault(f"{word} {head}", set()).add(file)
                    if thing is None:
                        looks.setdefault(word, set()).add(file)
    above = {noun: set(wordnet.ancestors(wordnet.senses(noun)[0].offset)) for noun in named}
    whole = {
        noun: files.union(*(named[other] for other in named if wordnet.senses(noun)[0].offset in above[other]))
        for noun, files in named.items()
    }
    return {
        "common nouns": {n: whole[n] for n, files in named.items() if len(files) >= common},
        "middle nouns": {n: whole[n] for n, files in named.items() if RARE < len(files) < common},
        "rare nouns": {n: whole[n] for n, files in named.items() if len(files) <= RARE},
        "activities": {n: files for n, files in doing.items() if len(files) > 1},
        "looks": {n: files for n, files in looks.items() if len(files) >= RARE},
        "compounds": {n: files for n, files in pairs.items() if len(files) > 1},
    }


def _thing(word: str, wordnet: WordNet) -> str | None:
    noun = singular(word, wordnet) if len(word) > 2 else None
    return noun if noun is not None and noun not in NOT_NOUNS and is_object(noun, wordnet) else None


def _captions(data: Path, name: str, names: Iterable[str]) -> dict[str, list[str]]:
    by_file = {Path(n).name: n for n in names}
    with (data / name / "captions.csv").open(newline="", encoding="utf-8") as file:
        return {by_file[Path(r["path"]).name]: [r[f"caption_{k}"] for k in range(5)] for r in csv.DictReader(file)}


def cells(name: str, data: Path, model: diptych.Model) -> tuple[list[Cell], Searched]:
    """Return the cells of a set, and one that holds answers to absent nouns that the index did not draw."""
    wordnet = WordNet.load()
    with tempfile.TemporaryDirectory() as folder:
        index(open_records(str(data / SETS[name].source)), model, model.run, Path(folder) / "index")
        with Index(Path(folder) / "index") as opened:
            places = np.concatenate(list(opened.places("image")))
            entries = opened.entries(places[:, 0].tolist())
            names = [entries[int(i)].name for i in places[:, 0]]
            vectors = np.asarray(opened.vectors("image"))[places[:, 1]]
            drawn = draw_absent(opened, model, model.run).scores
    truth, known = SETS[name].truth(data, names, wordnet)
    groups = {"queries": truth}
    if common := CAPTIONED.get(name):
        captions = _captions(data, name, names)
        groups = ({} if name == "flickr8k_small" else groups) | word_groups(captions, common, wordnet)
        known = known | {text for texts in captions.values() for text in texts}
    result = list[Cell]()
    for group, words in groups.items():
        for kind in KINDS:
            chosen = [word for word in sorted(words) if word_kind(word) == kind]
            if chosen:
                right = np.array([[n in words[word] for n in names] for word in chosen])
                present = answers(vectors, encoded(chosen, model, model.run), right)
                result.append(Cell(group, kind, Searched(len(names), present, present, drawn, [], int(right.sum()))))
    usual = set(picture_nouns())
    pool = [n for n in sorted(set(wordnet.names())) if n.isalpha() and n not in usual and is_object(n, wordnet)]
    absent = absent_nouns([*known, *names], wordnet, NOUNS, SEED, pool)
    aside = answers(vectors, encoded(absent, model, model.run), None)
    return result, Searched(len(names), aside, aside, drawn, absent, 0)


def share_of(cell: Cell, lowest: float, level: float) -> tuple[float, int, int]:
    """Return the share of right answers of a cell above the cut of its index, the answers above it, and the queries
    that have one.
    """
    cut = max(lowest, cell.found.drawn.lowest(level))
    above, right = right_above(cell.found, cut)
    return right / (above + 1), above, int((cell.found.present.score[:, 0] >= cut).sum())


def stated(every: Mapping[str, Sequence[Cell]], kind: Kind, lowest: float, level: float, depth: int) -> dict[str, Any]:
    """Return what is stated of a kind: mean, range and counts of its cells."""
    of_kind = [cell for of_set in every.values() for cell in of_set if cell.kind == kind]
    counted = [(*share_of(cell, lowest, level), cell) for cell in of_kind]
    counted = [row for row in counted if row[1] >= LEAST and row[2] >= LEAST_QUERIES]
    shares = [row[0] for row in counted]
    queries = sum(len(row[3].found.present.score) for row in counted)
    return {
        "share": round(float(np.mean(shares)), 4), "interval": [round(min(shares), 4), round(max(shares), 4)],
        "above": sum(row[1] for row in counted), "marks": queries * depth, "queries": queries, "cells": len(counted),
    }  # fmt: skip


def judged(every: Mapping[str, Sequence[Cell]], lowest: float, level: float, depth: int) -> list[dict[str, Any]]:
    """Return each cell beside the range of its kind over the other sets."""
    rows = list[dict[str, Any]]()
    for name, of_set in every.items():
        others = {n: found for n, found in every.items() if n != name}
        for cell in of_set:
            share, above, queries = share_of(cell, lowest, level)
            if above >= LEAST and queries >= LEAST_QUERIES:
                low, high = stated(others, cell.kind, lowest, level, depth)["interval"]
                rows.append({
                    "set": name, "group": cell.group, "kind": cell.kind, "share": share, "above": above,
                    "queries": queries, "others": [low, high], "below": share < low,
                })  # fmt: skip
    return rows


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbones", nargs="*", default=["lite"], help="the others stay in OUT as they are")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ships", type=Path, help="the file that gets the kinds")
    options = parser.parse_args(given)
    path = options.ships or Path("src/diptych/assets/lite/cut.json")
    shipped, result = json.loads(path.read_text(encoding="utf-8")), dict[str, Any]()
    if options.out.is_file():
        result = dict(json.loads(options.out.read_text(encoding="utf-8"))["backbones"])
    for backbone in options.backbones:
        model, facts = diptych.load(backbone, cache=True), shipped["backbones"][backbone]
        found = {name: cells(name, options.data, model) for name in options.sets}
        every, rows = {name: pair[0] for name, pair in found.items()}, dict[str, Any]()
        facts["curves"] = {
            kind: curve([c.found for of_set in every.values() for c in of_set if c.kind == kind]) for kind in KINDS
        }
        for level, row in facts["levels"].items():
            for of_words in (row, row["own_words"]):
                of_words["kinds"] = {
                    kind: stated(every, kind, of_words["threshold"], float(level), facts["depth"]) for kind in KINDS
                }
            lowest = row["own_words"]["threshold"]
            absent = {
                name: float((aside.present.score[:, 0] >= max(lowest, aside.drawn.lowest(float(level)))).mean())
                for name, (_, aside) in found.items()
            }
            rows[level] = {
                "stated": row["own_words"]["kinds"], "judged": judged(every, lowest, float(level), facts["depth"]),
                "absent": absent,
            }  # fmt: skip
        result[backbone] = rows
        sys.stdout.write(f"{backbone}: {json.dumps(rows, indent=1)}\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"command": COMMAND.format(" ".join(result)), "seed": SEED, "nouns": NOUNS}
    options.out.write_text(json.dumps({**facts, "backbones": result}, indent=1) + "\n", encoding="utf-8")
    if options.ships:
        options.ships.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
