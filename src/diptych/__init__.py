"""diptych: one core for the systems of the CLIP era.

Importing this package loads no torch, touches no network, seeds nothing and registers nothing. Each public name is
loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych import systems as systems
    from diptych.api.derived import (
        caption,
        classify,
        detect,
        edit,
        encode,
        generate,
        index,
        link,
        rewrite,
        search,
        segment,
    )
    from diptych.api.model import Model, load, load_classifier
    from diptych.api.results import Results
    from diptych.api.verbs import audit, board, open_data
    from diptych.core import ClassNames, Evidence, Kit, Run
    from diptych.tasks.model import Predictor

__version__ = "0.1.0"
__all__ = [
    "ClassNames",
    "Evidence",
    "Kit",
    "Model",
    "Predictor",
    "Results",
    "Run",
    "__version__",
    "audit",
    "board",
    "caption",
    "classify",
    "detect",
    "edit",
    "encode",
    "generate",
    "index",
    "link",
    "load",
    "load_classifier",
    "open_data",
    "rewrite",
    "search",
    "segment",
    "systems",
]
_PLACES = {
    "ClassNames": "core.data",
    "Evidence": "core.data",
    "Kit": "core.kit",
    "Model": "api.model",
    "Predictor": "tasks.model",
    "Results": "api.results",
    "Run": "core.run",
    "caption": "api.derived",
    "classify": "api.derived",
    "detect": "api.derived",
    "edit": "api.derived",
    "generate": "api.derived",
    "rewrite": "api.derived",
    "encode": "api.derived",
    "index": "api.derived",
    "link": "api.derived",
    "search": "api.derived",
    "segment": "api.derived",
    "load": "api.model",
    "load_classifier": "api.model",
}
"""Name -> module below diptych; the others are verbs."""
_COMMANDS = (
    "ablate", "cache", "check", "curate", "demo", "doctor", "export", "extend", "finetune",
    "models", "new_system", "pretrain", "prove", "rerun", "serve", "verify",
)  # fmt: skip
"""Verbs of the command line that are no function here."""
_ELSEWHERE = {
    **dict.fromkeys(
        ("create_model", "create_model_and_transforms", "from_pretrained", "load_model", "SentenceTransformer"),
        "load(name, pretrained)",
    ),
    "pipeline": "classify(photos, names)",
    **dict.fromkeys(("get_tokenizer", "tokenize"), "load(name).tokenizer(texts)"),
    **dict.fromkeys(("list_models", "list_pretrained", "available_models"), "'diptych models' on the command line"),
    **dict.fromkeys(_COMMANDS, "'diptych VERB' on the command line"),
}
"""Name that other libraries have -> what to use here."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "systems":
        return import_module("diptych.systems")
    if name not in __all__:
        told = f": use {_ELSEWHERE[name].replace('VERB', name.replace('_', '-'))}" if name in _ELSEWHERE else ""
        raise AttributeError(f"module 'diptych' has no attribute {name!r}{told}", name=name, obj=sys.modules[__name__])
    found = getattr(import_module(f"diptych.{_PLACES.get(name, 'api.verbs')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
