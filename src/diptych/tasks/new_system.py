"""``diptych new-system``: the files of a new system, which work from the first minute and are to be rewritten."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from string import Template

from diptych import catalog
from diptych.core import DataError, UsageError
from diptych.data.files import write_whole

TEMPLATES = Path(__file__).parent.parent / "assets" / "new_system"
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_END = "    }\n)\n"  # where the table of proofs ends


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        system: the file with maths and method.
        card: its card, the TOML file beside it.
        proof: the table of proofs, which got an entry; None in a package of its own, and for a verb whose proofs differ
            too much for an entry that works from the first minute.
        project: pyproject.toml of a package of its own, with the entry point; None in a checkout.
    """

    system: Path
    card: Path
    test: Path
    proof: Path | None = None
    project: Path | None = None


def new_system(slug: str, verb: str, root: Path | None = None, *, name: str | None = None) -> Written:
    """Write file, card, test and, in a checkout, the entry of the proof.

    Args:
        slug: lower-case words joined by dashes; file, class and test are called after it.
        verb: folder of the system; one with a folder in ``TEMPLATES``.
        root: a checkout of diptych; None: the working folder where it is one, else a package of its own in a new folder
            of the slug's name.
        name: the paper's spelling of the system; None: the slug with spaces.

    Raises:
        UsageError: slug, name or verb cannot be used, the slug is taken, a file of its name exists, or beside a
            package a module, or ``root`` is not a checkout.
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
            f"{slug!r} is not a slug: take lower-case words joined by dashes, such as {_nearest_slug(slug)}, and no "
            f"word of Python."
        )
    if not spelled.isprintable() or set(spelled) & {'"', "\\"} or not 0 < len(spelled) <= 60:
        raise UsageError(
            f"{spelled!r} is not a name: use at most 60 printable characters without quotes and backslashes."
        )
    if slug in catalog.slugs():
        raise UsageError(f"There is a system {slug!r} already: choose another slug, or see 'diptych systems {slug}'.")
    words = {"slug": slug, "stem": stem, "name": spelled, "type": _type(slug), "year": str(datetime.now(UTC).year)}
    words["module"] = f"diptych.methods.{verb}.{stem}"
    if root is None and not (Path("src") / "diptych" / "methods" / verb).is_dir():
        return _package(verb, words)
    root = root or Path()
    system, test, proof = (
        root / "src" / "diptych" / "methods" / verb / f"{stem}.py",
        root / "tests" / "methods" / verb / f"test_{stem}.py",
        root / "proofs" / f"{verb}.py",
    )
    card = system.with_suffix(".toml")
    for path in (system, card, test):
        if not path.parent.is_dir():
            raise UsageError(
                f"{root} is not a checkout of diptych, it lacks {path.parent.relative_to(root)}: give another "
                f"{{root}}, or none for a package of its own."
            )
        if path.exists():
            raise UsageError(f"{path} exists: choose another slug, or delete it.")
    files = ((system, "system.py"), (card, "card.toml"), (test, "test.py"))
    if not _has(verb, "proof.py"):
        for path, part in files:
            _write(path, verb, part, words)
        return Written(system, card, test)
    table = proof.read_text(encoding="utf-8") if proof.is_file() else ""
    if table.count(_END) != 1 or f'"{slug}"' in table:
        raise DataError(
            f"{proof} is not the table of proofs that this command knows: write system and test after a neighbour."
        )
    for path, part in files:
        _write(path, verb, part, words)
    write_whole(proof, table.replace(_END, _filled(verb, "proof.py", words) + _END), overwrite=True)
    return Written(system, card, test, proof)


def _package(verb: str, words: dict[str, str]) -> Written:
    """Write a package of its own, which joins diptych by an entry point."""
    folder = Path(words["slug"])
    if folder.exists():
        raise UsageError(f"{folder} exists: choose another slug, or delete it.")
    if words["stem"] in sys.stdlib_module_names or find_spec(words["stem"]) is not None:
        raise UsageError(
            f"There is a module {words['stem']} already, which {words['stem']}.py would hide: choose another slug, "
            f"such as my-{words['slug']}."
        )
    folder.mkdir()
    words = {**words, "module": words["stem"]}
    stem, project = words["stem"], folder / "pyproject.toml"
    written = Written(folder / f"{stem}.py", folder / f"{stem}.toml", folder / f"test_{stem}.py", project=project)
    test = "package_test.py" if _has(verb, "package_test.py") else "test.py"
    _write(written.system, verb, "system.py", words)
    _write(written.card, verb, "card.toml", words)
    _write(written.test, verb, test, words)
    _write(project, verb, "package.toml", words)
    return written


def _has(verb: str, part: str) -> bool:
    """Return whether a verb has a part of a skeleton of its own."""
    return (TEMPLATES / verb / f"{part}.txt").is_file()


def _write(path: Path, verb: str, part: str, words: dict[str, str]) -> None:
    write_whole(path, _filled(verb, part, words))


def _filled(verb: str, part: str, words: dict[str, str]) -> str:
    folder = TEMPLATES if part == "package.toml" else TEMPLATES / verb
    return Template((folder / f"{part}.txt").read_text(encoding="utf-8")).substitute(words)


def _nearest_slug(text: str) -> str:
    """Return the slug that is nearest to a text: the words of a name, its capitals too, joined by dashes."""
    words = re.findall(r"[a-z][a-z0-9]*", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text).lower())
    slug = "-".join(words)[:60].rstrip("-")
    return slug if slug and slug != text and not keyword.iskeyword(slug) else "my-system"


def _type(slug: str) -> str:
    return "".join(word.capitalize() for word in slug.split("-"))
