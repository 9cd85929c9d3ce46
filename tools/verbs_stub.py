"""Write the stub of the functions that are derived from declarations of verbs: ``src/diptych/api/derived.pyi``.

Editors and mypy read it. ``python tools/verbs_stub.py`` writes it; ``--check`` leaves with 1 where it is out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from diptych.api import derived
from diptych.api.declared import documentation, result_of, signature_of
from diptych.verbs.declare import Verb

STUB = Path(derived.__file__).with_suffix(".pyi")
RESULTS = {"Embeddings": "embeddings", "FittedSpace": "space", "PhotoIndex": "photo_index"}
"""What functions return that is no ``Results``, and the module of ``diptych.api`` where it is."""
HEAD = '''"""Made by tools/verbs_stub.py from the declarations in diptych.verbs: edit those."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

{imports}
'''


def signature(verb: type[Verb]) -> str:
    """Return the first line; a method may be what ``diptych.systems`` has."""
    annotations = {n: t for base in reversed(verb.__mro__) for n, t in inspect.get_annotations(base).items()}
    defaults = {f.name: f.default for f in fields(verb)}
    role = verb.role.partition(":")[2]

    def line(name: str) -> str:
        default = "" if defaults[name] is MISSING else f" = {defaults[name]!r}"
        return f"{name}: {annotations[name].replace(f'str | {role}', f'str | {role} | System[{role}]')}{default}"

    lines, star = [], False
    for parameter in signature_of(verb).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            lines.append("*")
            star = True
        text = line(parameter.name) if parameter.name in defaults else str(parameter).replace("'", "")
        lines.append(text)
    return f"def {verb.name}(\n    {', '.join(lines)},\n) -> {result_of(verb)}:"


def function(verb: type[Verb]) -> str:
    """Return the lines of a function."""
    text = documentation(verb).replace("\n", "\n    ").replace("\n    \n", "\n\n").replace("\\", "\\\\")
    return f'{signature(verb)}\n    """{text}\n    """\n'


def imports(verbs: list[type[Verb]]) -> str:
    """Return the imports of the names in the signatures, as the declarations have them."""
    lines = {
        "from diptych.api.fitting import System", "from diptych.api.model import ModelLike",
        "from diptych.api.results import Results",
    }  # fmt: skip
    text = "\n".join(map(signature, verbs))
    lines |= {f"from diptych.api.{module} import {name}" for name, module in RESULTS.items() if f"-> {name}:" in text}
    for verb in verbs:
        source = Path(sys.modules[verb.__module__].__file__ or "").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("diptych"):
                used = [n.name for n in node.names if re.search(rf"\b{n.name}\b", text)]
                lines |= {f"from {node.module} import {name}" for name in used if name[0].isupper() and name != "Verb"}
    return "\n".join(sorted(lines))


def main(words: list[str]) -> int:
    """Write the stub, or compare it."""
    verbs = [getattr(derived, name).verb for name in sorted(vars(derived)) if hasattr(getattr(derived, name), "verb")]
    text = "\n".join([HEAD.format(imports=imports(verbs)), *map(function, verbs)])
    from subprocess import run

    for words_of_ruff in (["check", "--select", "I", "--fix-only", "-q"], ["format"]):
        command = [sys.executable, "-m", "ruff", *words_of_ruff, "--stdin-filename", str(STUB), "-"]
        text = run(command, input=text, capture_output=True, text=True, check=True).stdout
    if "--check" in words:
        same = STUB.is_file() and STUB.read_text(encoding="utf-8") == text
        if not same:
            print(f"{STUB} is out of date: run python tools/verbs_stub.py")  # noqa: T201
        return int(not same)
    STUB.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
