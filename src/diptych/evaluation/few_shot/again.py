"""A board that is run again: where all that decides it is unchanged, the written one is the answer. Imports no torch.

    out/board.key    hash of data, classes, texts, plan, backbone, precision, engine, versions and sources of diptych

Written beside ``board.json`` when a board is complete and every row could run: what was missing may be there by now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import diptych
from diptych.core import ClassNames, DataError
from diptych.data.files import plain, read_json, write_whole
from diptych.data.labelled import LabelledData
from diptych.data.words.pools import Pool, pool_of
from diptych.evaluation.few_shot.inputs import readable_hash
from diptych.evaluation.few_shot.plan import Plan
from diptych.evaluation.few_shot.unlabelled import Unlabelled
from diptych.tasks.record import versions


def key_of(
    data: LabelledData,
    plan: Plan,
    classes: ClassNames,
    texts: Pool | None,
    unlabelled: Unlabelled | None,
    settings: Mapping[str, Any],
) -> str:
    """Return the hash of all that decides a board.

    Args:
        data: the data set.
        plan: methods, shots, seeds and limits.
        classes: names and templates.
        texts: descriptions; None: the pool that ships for a data set of this name, if there is one.
        unlabelled: images that were given apart.
        settings: plain facts: fingerprint of the backbone, device, precision, engine, and what is exported.
    """
    pool = texts or pool_of(data.name)
    facts = {
        "data": [data.name, readable_hash(data)],
        "plan": vars(plan),
        "classes": [classes.names, classes.templates],
        "texts": pool.hash if pool else "",
        "unlabelled": unlabelled.hash if unlabelled else "",
        "versions": versions(),
        "code": _code(),
        **settings,
    }
    return hashlib.sha256(json.dumps(plain(facts), sort_keys=True).encode()).hexdigest()


def written(out: Path, key: str) -> dict[str, Any] | None:
    """Return the board of a folder as plain data, if it was made with this key and is whole."""
    try:
        if (out / "board.key").read_text(encoding="utf-8") != key:
            return None
        data: dict[str, Any] = read_json(out / "board.json")
    except (OSError, DataError, UnicodeDecodeError):
        return None
    return data if data.get("complete") and isinstance(data.get("rows"), list) else None


def keep(out: Path, key: str, board: Mapping[str, Any]) -> None:
    """Write the key of a board that is complete and lacks no row; take an older key away otherwise."""
    if board["complete"] and not board["missing"]:
        write_whole(out / "board.key", key, overwrite=True)
    else:
        forget(out)


def forget(out: Path) -> None:
    """Take the key away, so that the board of a folder is run again."""
    (out / "board.key").unlink(missing_ok=True)


@cache
def _code() -> str:
    """Return the hash of the sources of diptych."""
    digest, root = hashlib.sha256(), Path(diptych.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
