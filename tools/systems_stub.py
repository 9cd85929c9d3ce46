"""Write src/diptych/systems.pyi, from which editors complete: ``python tools/systems_stub.py [--check]``."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, get_type_hints

from diptych import catalog
from diptych.api.fitting import system_class

STUB = Path(__file__).resolve().parent.parent / "src" / "diptych" / "systems.pyi"
HEAD = '"""Written by tools/systems_stub.py from the catalog: the systems by class name."""\n\n'


def stub() -> str:
    """Return the stub: one class for each system of this package, with the signature of its own class."""
    imports, classes = {"from typing import Literal"}, []
    for card in sorted(catalog.cards(), key=lambda c: str(c["class"])):
        if not str(card["module"]).startswith("diptych."):
            continue
        kind = catalog.find(card["slug"])
        base = system_class(kind).__mro__[1]
        imports.add(f"from {base.__module__} import {base.__name__}")
        hints = get_type_hints(kind.__init__)
        given = []
        for p in inspect.signature(kind).parameters.values():
            imports |= {f"from {m} import {n}" for m, n in _dotted(hints[p.name])}
            given.append(f"{p.name}: {_written(hints[p.name])} = {_default(p.default)}")
        summary = "\n    ".join(textwrap.wrap((inspect.getdoc(kind) or "").partition("\n\n")[0], 100))
        classes.append(
            f"class {card['class']}({base.__name__}):\n"
            f'    """{summary}"""\n'
            f"    def __init__({', '.join(['self', *given])}) -> None: ...\n"
        )
    return _formatted(HEAD + "\n".join(sorted(imports)) + "\n\n" + "\n".join(classes))


def _text(hint: Any) -> str:
    """Return a hint with whole module names; literals are sorted, since Python gives those of another module that were
    made first.
    """
    if isinstance(hint, type) and not hasattr(hint, "__args__"):
        return f"{hint.__module__}.{hint.__qualname__}"
    return re.sub(r"Literal\[([^\]]+)\]", lambda m: f"Literal[{', '.join(sorted(m[1].split(', ')))}]", str(hint))


def _dotted(hint: Any) -> list[tuple[str, str]]:
    return re.findall(r"(diptych(?:\.\w+)*)\.([A-Z]\w*)", _text(hint))


def _written(hint: Any) -> str:
    return re.sub(r"(?:typing|builtins|diptych(?:\.\w+)*)\.", "", _text(hint))


LONGEST = 60
"""Characters of a default that is written out; prompts of language models are longer."""


def _default(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    plain = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if plain and len(repr(value)) <= LONGEST else "..."


def _formatted(text: str) -> str:
    for command in (["check", "--quiet", "--select", "I,D209", "--fix"], ["format", "--quiet"]):
        call = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(STUB), "-"]
        text = subprocess.run(call, input=text, capture_output=True, text=True, check=True, cwd=STUB.parents[2]).stdout
    return text


def main() -> int:
    """Write the stub, or say with exit code 1 that it is stale."""
    new = stub()
    if "--check" in sys.argv:
        stale = not STUB.is_file() or STUB.read_text(encoding="utf-8") != new
        if stale:
            sys.stderr.write(
                "src/diptych/systems.pyi is not what the catalog says: run python tools/systems_stub.py.\n"
            )
        return int(stale)
    STUB.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
