"""diptych: published systems of the CLIP era behind one Python API and one command line.

Importing this package loads no torch, touches no network, seeds nothing and registers nothing. Each public name is
loaded when it is first asked for.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import lazy_loader

__version__ = "0.1.0"
_load, _, _NAMES = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*_NAMES, "__version__"} - {"sklearn"})
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
            "get_model",
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
    **dict.fromkeys(("dedup", "dedupe", "deduplicate"), "curate(pairs, method='semdedup')"),
    **dict.fromkeys(("merge", "join", "match", "record_linkage"), "link(left, right)"),
    **dict.fromkeys(("Trainer", "TrainingArguments", "trainer"), "finetune(data, out, model)"),
    **dict.fromkeys(("benchmark", "evaluate"), "board(data)"),
    **dict.fromkeys(("to_onnx", "onnx", "export_model"), "export(model, out)"),
    **dict.fromkeys(("fit", "train"), "systems.GDA().fit(model, train)"),
    **dict.fromkeys(("PhotoIndex", "Index", "VectorStore", "build_index", "create_index"), "index(photos)"),
    **dict.fromkeys(
        ("open_index", "load_index", "read_index"), "search(folder, query), which opens an index by its folder"
    ),
    **dict.fromkeys(("load_predictor", "load_system", "load_fitted", "Predictor"), "load_classifier(folder)"),
    **dict.fromkeys(("Board", "compare", "leaderboard", "run_board"), "board(data, model)"),
    **dict.fromkeys(("Results", "Plan", "plan", "apply"), "what the verbs return, such as curate(pairs, method=...)"),
    **dict.fromkeys(("score", "accuracy", "metrics"), "systems.GDA().fit(model, train).score(test)"),
    **dict.fromkeys(("set_device", "device", "cuda"), "load(name, device=...)"),
    **dict.fromkeys(("seed", "set_seed", "manual_seed"), "seed= or seeds= of a verb"),
    **dict.fromkeys(("get_system", "get_method", "create_system", "system"), "systems.NAME(), such as systems.GDA()"),
    **dict.fromkeys(_COMMANDS, "'diptych VERB' on the command line"),
    "models": "list_models(), or 'diptych models' on the command line",
    **dict.fromkeys(
        ("clear_cache", "empty_cache", "prune_cache"),
        "'diptych cache prune' on the command line, and load(name, cache=False) for a model that stores nothing",
    ),
    **dict.fromkeys(
        ("show_versions", "print_versions", "versions"), "'diptych doctor' on the command line, and __version__"
    ),
    "version": "__version__",
}
"""Name that other libraries have -> what to use here."""


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return _load(name)
    raise AttributeError(
        f"module 'diptych' has no attribute {name!r}{_remedy(name)}", name=name, obj=sys.modules[__name__]
    )


def _remedy(name: str) -> str:
    """Return what to use instead of a name that is not there; "" where nothing is near."""
    if name in _ELSEWHERE:
        return f": use {_ELSEWHERE[name].replace('VERB', name.replace('_', '-'))}"
    if name.startswith("_") or _is_module(name):  # private names, which tools ask every module for
        return ""
    from difflib import get_close_matches

    if near := get_close_matches(name, __all__, n=1, cutoff=0.75):
        return f": use {near[0]}"
    from diptych import systems

    return f": use diptych.systems.{name}" if name in dir(systems) else ": dir(diptych) lists what it has"


def _is_module(name: str) -> bool:
    """Return whether a name is a module, which ``from diptych import catalog`` asks for here before it is imported,
    where a search for what to use instead would read all cards.
    """
    return any(os.path.exists(os.path.join(folder, name + end)) for folder in __path__ for end in ("", ".py"))


def __dir__() -> list[str]:
    return list(__all__)
