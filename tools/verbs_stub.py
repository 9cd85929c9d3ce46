"""Write the stub of the functions that are derived from declarations of verbs: ``src/diptych/api/derived.pyi``.

Editors and mypy read it. ``python tools/verbs_stub.py`` writes it; ``--check`` leaves with 1 where it is out of date.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from textwrap import indent
from typing import Any

from diptych.api import derived
from diptych.api.declared import documentation, result_of, signature_of
from diptych.verbs.declare import Verb

STUB = Path(derived.__file__).with_suffix(".pyi")
RESULTS = {
    "CuratedPairs": "curation", "Embeddings": "embeddings", "FittedHead": "curation", "FittedSpace": "space",
    "PhotoIndex": "photo_index",
    "Planned": "curation",
}  # fmt: skip
"""What functions return that is no ``Results``, or is the base of it, and the module of ``diptych.api`` where it is."""
ITEMS = {
    "AuditedBackbone": "evaluation.boards.audit", "BoardRow": "evaluation.boards.verb", "Link": "tasks.link",
    "Prediction": "tasks.classified", "Reach": "evaluation.few_shot.protocol", "Row": "evaluation.few_shot.gains",
    "Segmented": "tasks.label_maps.segmented", "Tuned": "tasks.training.tuned",
}  # fmt: skip
"""Items that the declaration of their verb does not import, and the module of ``diptych`` where each is."""
HEAD = '''"""Made by tools/verbs_stub.py from the declarations in diptych.verbs: edit those."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

{imports}
'''


def signature(verb: type[Verb], name: str = "", without: Collection[str] = ()) -> str:
    """Return the first line; a method may be what ``diptych.systems`` has.

    Args:
        verb: declared.
        name: of the function; "": that of the verb.
        without: arguments that it has not; of a method, ``self`` is added.
    """
    annotations = {n: t for base in reversed(verb.__mro__) for n, t in inspect.get_annotations(base).items()}
    defaults = {f.name: f.default for f in fields(verb)}
    role = verb.role.partition(":")[2]

    def line(name: str) -> str:
        default = "" if defaults[name] is MISSING else f" = {defaults[name]!r}"
        kind = annotations[name].replace(f"str | {role}", f"str | {role} | System[{role}]")
        return f"{name}: {kind.replace('| Recipe', '| Recipe | OtherSystem')}{default}"

    lines, star = (["self"] if name else []), False
    for parameter in signature_of(verb, without).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            lines.append("*")
            star = True
        text = line(parameter.name) if parameter.name in defaults else str(parameter).replace("'", "")
        lines.append(text)
    return f"def {name or verb.name}(\n    {', '.join(lines)},\n) -> {result_of(verb)}:"


def function(verb: type[Verb], name: str = "", without: Collection[str] = ()) -> str:
    """Return the lines of a function, or of a method where it has a name."""
    text = documentation(verb, without).replace("\n", "\n    ").replace("\n    \n", "\n\n").replace("\\", "\\\\")
    return f'{signature(verb, name, without)}\n    """{text}\n    """\n'


def group(name: str, main: type[Verb], steps: Mapping[str, Any]) -> str:
    """Return the lines of a function that has others as attributes: of a class that can be called, and its object."""
    kind, itself = f"_{name.capitalize()}", next(step for step, thing in steps.items() if thing.verb is main)
    others = [function(thing.verb, step) for step, thing in steps.items() if step != itself]
    methods = indent("\n".join([function(main, "__call__"), *others]), "    ")
    return f"class {kind}:\n    {itself}: {kind}\n{methods}\n\n{name}: {kind}\n"


def methods(kind: type) -> str:
    """Return the lines of a class whose methods are derived."""
    nested = {name: thing for name, thing in vars(kind).items() if hasattr(thing, "verb")}
    text = "\n".join(function(thing.verb, name, thing.without) for name, thing in nested.items())
    return f'class {kind.__name__}({kind.__mro__[1].__name__}):\n    """{kind.__doc__}"""\n\n{indent(text, "    ")}\n'


def imports(verbs: list[type[Verb]]) -> str:
    """Return the imports of the names in the signatures, as the declarations have them."""
    lines = {
        "from diptych.api.fitting import OtherSystem, System", "from diptych.api.model import ModelLike",
        "from diptych.api.results import Results",
    }  # fmt: skip
    lines |= {f"from diptych.api.{module} import {name}" for name, module in RESULTS.items()}
    lines |= {f"from diptych.{module} import {name}" for name, module in ITEMS.items()}
    for verb in verbs:
        text, modules = signature(verb), {base.__module__ for base in verb.__mro__ if issubclass(base, Verb)}
        for node in (node for module in sorted(modules) for node in ast.walk(ast.parse(source_of(module)))):
            if isinstance(node, ast.ClassDef) and node.name == verb.item:
                lines.add(f"from {verb.__module__} import {node.name}")
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("diptych"):
                used = [n.name for n in node.names if re.search(rf"\b{n.name}\b", text)]
                lines |= {f"from {node.module} import {name}" for name in used if name[0].isupper() and name != "Verb"}
    return "\n".join(sorted(lines))


def source_of(module: str) -> str:
    """Return the text of a module that is loaded."""
    return Path(sys.modules[module].__file__ or "").read_text(encoding="utf-8")


def main(words: list[str]) -> int:
    """Write the stub, or compare it."""
    things = {name: thing for name, thing in sorted(vars(derived).items()) if hasattr(thing, "verb")}
    steps = {name: getattr(thing, "steps", {"": thing}) for name, thing in things.items()}
    verbs = [step.verb for every in steps.values() for step in every.values()]
    kinds = [t for t in vars(derived).values() if isinstance(t, type) and t.__module__ == derived.__name__]
    texts = [
        function(every[""].verb) if "" in every else group(name, things[name].verb, every)
        for name, every in steps.items()
    ]
    text = "\n".join([HEAD.format(imports=imports(verbs)), *texts, *map(methods, kinds)])
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
