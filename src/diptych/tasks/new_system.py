"""``diptych new-system``: the files of a system that does not exist yet, working from the first minute, for its author
to rewrite.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from diptych import catalog
from diptych.core.errors import DataError, UsageError
from diptych.data.files import write_whole

TEMPLATES = Path(__file__).parent.parent / "assets" / "new_system"
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_END = "    }\n)\n"  # where the table of proofs ends


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        system: the file with maths, card and method.
        test: its test.
        proof: the table of proofs, which got an entry.
    """

    system: Path
    test: Path
    proof: Path


def new_system(slug: str, verb: str, root: Path, *, name: str | None = None) -> Written:
    """Write file, card, test and the entry of the proof.

    Args:
        slug: lower-case words joined by dashes; file, class and test are called after it.
        verb: folder of the system; one with a folder in ``TEMPLATES``.
        root: a checkout of diptych.
        name: the paper's spelling of the system; None: the slug with spaces.

    Raises:
        UsageError: slug, name or verb cannot be used, the slug is taken, a file exists, or ``root`` is no checkout.
        DataError: the table of proofs does not end as expected.
    """
    verbs = sorted(p.name for p in TEMPLATES.iterdir() if p.is_dir())
    if verb not in verbs:
        raise UsageError(
            f"There is no skeleton for the verb {verb!r}: choose one of {', '.join(verbs)}, or copy a file of that "
            f"folder."
        )
    stem, spelled = slug.replace("-", "_"), name or slug.replace("-", " ")
    if not _SLUG.fullmatch(slug) or keyword.iskeyword(stem) or len(slug) > 60:
        raise UsageError(
            f"{slug!r} is no slug: take lower-case words joined by dashes, such as my-system, and no word of Python."
        )
    if not spelled.isprintable() or set(spelled) & {'"', "\\"} or not 0 < len(spelled) <= 60:
        raise UsageError(
            f"{spelled!r} is no name: take at most 60 printable characters without quotes and backslashes."
        )
    if slug in catalog.slugs():
        raise UsageError(f"There is a system {slug!r} already: choose another slug, or see 'diptych systems {slug}'.")
    written = Written(
        root / "src" / "diptych" / "methods" / verb / f"{stem}.py",
        root / "tests" / "methods" / verb / f"test_{stem}.py",
        root / "src" / "diptych" / "evaluation" / "proofs" / f"{verb}.py",
    )
    for path in (written.system, written.test):
        if not path.parent.is_dir():
            raise UsageError(
                f"{root} is no checkout of diptych, it lacks {path.parent.relative_to(root)}: run this in one, or "
                f"give --root."
            )
        if path.exists():
            raise UsageError(f"{path} exists: choose another slug, or delete it.")
    table = written.proof.read_text(encoding="utf-8") if written.proof.is_file() else ""
    if table.count(_END) != 1 or f'"{slug}"' in table:
        raise DataError(
            f"{written.proof} is not the table of proofs that this command knows: write system and test after a "
            f"neighbour."
        )

    words = {"slug": slug, "stem": stem, "name": spelled, "type": _type(slug), "year": str(datetime.now(UTC).year)}
    system, test, proof = (
        Template((TEMPLATES / verb / f"{part}.py.txt").read_text(encoding="utf-8")).substitute(words)
        for part in ("system", "test", "proof")
    )
    for path, text in ((written.system, system), (written.test, test)):
        write_whole(path, text)
    write_whole(written.proof, table.replace(_END, proof + _END), overwrite=True)
    return written


def _type(slug: str) -> str:
    return "".join(word.capitalize() for word in slug.split("-"))
