"""diptych: published systems of the CLIP era behind one Python API and one command line.

Importing this package loads no torch, touches no network, seeds nothing and registers nothing. Each public name is
loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych import sklearn as sklearn
    from diptych import systems as systems
    from diptych.api.checking import check
    from diptych.api.derived import (
        audit,
        board,
        caption,
        classify,
        curate,
        detect,
        edit,
        encode,
        export,
        extend,
        finetune,
        generate,
        index,
        link,
        pretrain,
        recommend,
        rewrite,
        search,
        segment,
    )
    from diptych.api.listing import list_models, list_systems
    from diptych.api.model import Model, load, load_classifier
    from diptych.api.results import Results
    from diptych.api.verbs import open_data
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
    "check",
    "classify",
    "curate",
    "detect",
    "edit",
    "encode",
    "export",
    "extend",
    "finetune",
    "generate",
    "index",
    "link",
    "list_models",
    "list_systems",
    "load",
    "load_classifier",
    "open_data",
    "pretrain",
    "recommend",
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
    "audit": "api.derived",
    "board": "api.derived",
    "caption": "api.derived",
    "classify": "api.derived",
    "curate": "api.derived",
    "detect": "api.derived",
    "edit": "api.derived",
    "generate": "api.derived",
    "recommend": "api.derived",
    "rewrite": "api.derived",
    "encode": "api.derived",
    "export": "api.derived",
    "extend": "api.derived",
    "index": "api.derived",
    "link": "api.derived",
    "list_models": "api.listing",
    "list_systems": "api.listing",
    "search": "api.derived",
    "segment": "api.derived",
    "load": "api.model",
    "load_classifier": "api.model",
    "check": "api.checking",
    "finetune": "api.derived",
    "pretrain": "api.derived",
}
"""Name -> module below diptych; the others are verbs."""
_COMMANDS = (
    "ablate", "cache", "config", "demo", "doctor",
    "models", "new_system", "prove", "rerun", "serve", "verify",
)  # fmt: skip
"""Verbs of the command line that are no function here."""
_ELSEWHERE = {
    **dict.fromkeys(
        (
            "create_model",
            "create_model_and_transforms",
            "create_model_from_pretrained",
            "from_pretrained",
            "load_model",
            "SentenceTransformer",
            "CLIPModel",
            "AutoModel",
            "CLIP",
        ),
        "load(name, pretrained)",
    ),
    **dict.fromkeys(("CLIPProcessor", "AutoProcessor", "image_transform"), "load(name).preprocess(photo)"),
    **dict.fromkeys(
        ("pipeline", "Pipeline", "zero_shot", "predict", "zero_shot_classifier"), "classify(photos, names)"
    ),
    **dict.fromkeys(("get_tokenizer", "tokenize", "AutoTokenizer"), "load(name).tokenizer(texts)"),
    **dict.fromkeys(("list_pretrained", "available_models", "list_pretrained_models"), "list_models()"),
    **dict.fromkeys(("list_methods", "available_systems", "all_estimators"), "list_systems(verb=...)"),
    "encode_image": "encode(photos), or load(name).encode_image(photos)",
    "encode_text": "encode(texts=texts), or load(name).encode_text(texts)",
    "embed": "encode(photos)",
    **dict.fromkeys(("similarity", "cosine_similarity", "clip_score"), "load(name).similarity(photos, texts)"),
    **dict.fromkeys(
        ("cluster", "clusters", "kmeans", "umap", "tsne"), "encode(photos) with sklearn.cluster or sklearn.manifold"
    ),
    **dict.fromkeys(("datasets", "Dataset", "dataset", "DataLoader"), "open_data(folder)"),
    **dict.fromkeys(("load_dataset", "load_data", "ImageFolder"), "open_data(folder)"),
    **dict.fromkeys(("filter", "filter_pairs", "clip_filter"), "curate(pairs)"),
    **dict.fromkeys(("dedup", "deduplicate"), "curate(pairs, method='semdedup')"),
    **dict.fromkeys(("benchmark", "evaluate"), "board(data)"),
    **dict.fromkeys(("to_onnx", "onnx", "export_model"), "export(model, out)"),
    **dict.fromkeys(("fit", "train"), "systems.GDA().fit(model, train)"),
    **dict.fromkeys(_COMMANDS, "'diptych VERB' on the command line"),
}
"""Name that other libraries have -> what to use here."""


if not TYPE_CHECKING:  # names stay checked

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in ("systems", "sklearn"):
            return import_module(f"diptych.{name}")
        if name not in __all__:
            raise AttributeError(
                f"module 'diptych' has no attribute {name!r}{_remedy(name)}", name=name, obj=sys.modules[__name__]
            )
        value = getattr(import_module(f"diptych.{_PLACES.get(name, 'api.verbs')}"), name)
        globals()[name] = value
        return value


def _remedy(name: str) -> str:
    """Return what to use instead of a name that is not there; "" where nothing is near."""
    if name.startswith("__"):
        return ""
    if name in _ELSEWHERE:
        return f": use {_ELSEWHERE[name].replace('VERB', name.replace('_', '-'))}"
    from difflib import get_close_matches

    if near := get_close_matches(name, __all__, n=1, cutoff=0.75):
        return f": use {near[0]}"
    from diptych import systems

    return f": use diptych.systems.{name}" if name in dir(systems) else ": dir(diptych) lists what it has"


def __dir__() -> list[str]:
    return list(__all__)
