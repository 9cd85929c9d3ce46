"""Plans of the embedding store: which keys are encoded together, on the disk before anything is encoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.core import UsageError
from diptych.data.files import move
from diptych.store.sealed import BrokenFileError, Damage, unseal

HEX, _DIGITS = re.compile(r"[0-9a-f]{8,128}"), re.compile(r"[0-9a-f]*")


@dataclass(frozen=True)
class Batch:
    """A planned batch.

    Args:
        name: plan number and place in the plan.
        keys: members, in the order in which they are encoded.
    """

    name: str
    keys: tuple[str, ...]


def name_batches(number: str, batches: Sequence[Sequence[str]]) -> list[Batch]:
    """Return the batches of a plan under their names."""
    return [Batch(f"{number}-{position:06d}", tuple(keys)) for position, keys in enumerate(batches)]


def read_plan(path: Path) -> list[Batch]:
    """Read one plan.

    Raises:
        BrokenFileError: it does not hold what it says.
    """
    try:
        return name_batches(path.stem, unseal(path.read_bytes())["batches"])
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFileError("not a plan") from error


def read_plans(
    folder: Path, plans: dict[str, list[Batch]], done: Callable[[str], bool], report: Callable[[Damage], None]
) -> None:
    """Add the plans that are new on disk to ``plans``: number -> batches that are not ``done``.

    A damaged plan is reported and set aside under another suffix, which keeps its number taken; the caller holds the
    lock.
    """
    for path in sorted(folder.iterdir()):
        if path.stem in plans or path.suffix not in (".json", ".damaged"):
            continue
        plans[path.stem] = []
        if path.suffix == ".json":
            try:
                plans[path.stem] = [batch for batch in read_plan(path) if not done(batch.name)]
            except BrokenFileError as error:
                report(Damage(path, str(error)))
                move(path, path.with_suffix(".damaged"))


def verify_plans(folder: Path) -> list[Damage]:
    """Check every plan of a space and change nothing."""
    damages = []
    for path in sorted(folder.glob("*.json")):
        try:
            read_plan(path)
        except BrokenFileError as error:
            damages.append(Damage(path, str(error)))
    return damages


def check_keys(keys: Sequence[str]) -> None:
    """Raise UsageError where a key is none."""
    lengths = {*map(len, keys)}
    if not keys or (min(lengths) >= 8 and max(lengths) <= 128 and _DIGITS.fullmatch("".join(keys))):
        return
    for key in keys:
        if not HEX.fullmatch(key):
            raise UsageError(f"{key!r} is no key: keys are 8 to 128 lower-case hexadecimal digits of a content hash.")
