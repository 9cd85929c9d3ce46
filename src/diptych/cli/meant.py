"""Commands and flags that are not there: which of ours is meant, by meaning first and by spelling after it."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diptych.core import PluginWarning, UsageError

COMMANDS: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys((
        "label", "tag", "predict", "predictions", "recognize", "recognise", "recognition", "classification", "zeroshot",
        "sort", "organize", "organise", "annotate", "identify", "name", "infer", "inference", "test",
    ), "classify"),
    **dict.fromkeys((
        "segmentation", "mask", "masks", "semseg", "parse", "panoptic", "referring",
    ), "segment"),
    **dict.fromkeys((
        "anomaly", "anomalies", "defect", "defects", "detection", "outlier", "outliers", "inspect", "novelty",
    ), "detect"),
    **dict.fromkeys(("describe", "captions", "captioning", "img2txt", "image2text", "image-to-text"), "caption"),
    **dict.fromkeys(("add", "ingest", "import", "database", "build-index", "photo-index", "faiss"), "index"),
    **dict.fromkeys((
        "find", "query", "retrieve", "retrieval", "lookup", "knn", "nearest", "neighbors", "neighbours",
        "image-search", "reverse-search",
    ), "search"),
    **dict.fromkeys(("match", "matching", "linkage", "join", "entity-resolution", "record-linkage"), "link"),
    **dict.fromkeys((
        "draw", "txt2img", "text2image", "text-to-image", "t2i", "synthesize", "synthesise", "diffusion", "paint",
    ), "generate"),
    **dict.fromkeys(("img2img", "image-to-image", "inpaint", "inpainting", "editing", "style", "transfer"), "edit"),
    **dict.fromkeys(("prompt", "prompts", "rephrase", "paraphrase", "expand"), "rewrite"),
    **dict.fromkeys(("recommendation", "suggest", "advise", "choose", "automl"), "recommend"),
    **dict.fromkeys(("benchmark", "bench", "evaluate", "evaluation", "eval", "compare", "leaderboard", "measure"),
                    "board"),
    **dict.fromkeys(("fewshot", "linearprobe", "probe", "k-shot"), "board classify"),
    **dict.fromkeys(("bias", "fairness", "failures", "errors", "debug-model", "robustness", "spurious"), "audit"),
    **dict.fromkeys(("noise", "mislabeled", "mislabelled", "wrong-captions", "clipscore"),
                    "audit pairs"),
    **dict.fromkeys((
        "train", "tune", "fine-tune", "finetuning", "fine-tuning", "fit", "training", "lora", "adapt", "learn",
    ), "finetune"),
    **dict.fromkeys(("pretraining", "pre-train", "pre-training", "train-clip", "train-from-scratch"), "pretrain"),
    **dict.fromkeys(("video", "videos", "clips", "pointcloud", "point-clouds", "lightcurves", "modality"), "extend"),
    **dict.fromkeys((
        "embed", "embedding", "embeddings", "features", "feature-extraction", "vectors", "extract", "vectorize",
    ), "encode"),
    **dict.fromkeys(("filter", "dedup", "dedupe", "deduplicate", "clean", "prune", "select", "subset"), "curate"),
    **dict.fromkeys(("validate", "lint", "duplicates", "broken", "corrupt"), "check"),
    **dict.fromkeys(("onnx", "convert", "quantize", "quantise", "openvino", "compile", "save"), "export"),
    **dict.fromkeys(("server", "run", "api", "http", "start", "deploy", "rest"), "serve"),
    **dict.fromkeys(("gui", "ui", "web", "app", "page", "browse", "explore", "show", "view", "gallery", "open", "map"),
                    "serve --index"),
    **dict.fromkeys(("methods", "list", "algorithms", "papers", "system"), "systems"),
    **dict.fromkeys(("model", "backbones", "backbone", "checkpoints", "weights", "pretrained"), "models list"),
    **dict.fromkeys(("new", "create", "init", "scaffold", "plugin"), "new-system"),
    **dict.fromkeys(("env", "environment", "status", "diagnose", "info", "self-test"), "doctor"),
    **dict.fromkeys(("settings", "configure", "options", "defaults"), "config"),
    **dict.fromkeys(("example", "examples", "quickstart", "tutorial", "try"), "demo"),
    **dict.fromkeys(("reproduce", "replicate", "repeat"), "verify"),
    "version": "--version",
    "help": "--help",
})  # fmt: skip
"""Word of the field or of other tools -> what is typed here; hyphens and case do not count."""
ABSENT: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(
        ("cluster", "clusters", "clustering", "group", "kmeans", "topics", "umap", "tsne", "plot", "visualize",
         "visualise"),
        "diptych does not group photos without names: 'diptych classify' sorts them by names that you give, and "
        "'diptych serve --index' shows a map of an index, where like lies beside like.",
    ),
    **dict.fromkeys(
        ("similarity", "similarities", "similar", "score", "scores", "cosine", "distance"),
        "'diptych search' ranks photos by their similarity to words or to a photo, 'diptych audit pairs' looks at "
        "photos beside their captions, and 'diptych encode' writes the vectors.",
    ),
    **dict.fromkeys(
        ("download", "pull", "get", "fetch"),
        "'diptych models list' names models, and the first command with '--backbone NAME' fetches the weights.",
    ),
    **dict.fromkeys(
        ("ocr", "read", "transcribe"),
        "diptych reads no text on photos; 'diptych link' compares pictures of records.",
    ),
    **dict.fromkeys(
        ("upscale", "superres", "depth", "pose", "track", "tracking"),
        "diptych has nothing for it; 'diptych --help' lists what it does.",
    ),
    **dict.fromkeys(("install", "setup", "update", "upgrade", "uninstall"), "pip does that, in your environment."),
})  # fmt: skip
"""Word for something that no command does -> what comes nearest."""
FLAGS: Mapping[str, Sequence[str]] = MappingProxyType({
    **dict.fromkeys(("labels", "label", "classes", "class-names", "classnames", "categories", "candidate-labels"),
                    ("names",)),
    **dict.fromkeys(("prompt", "prompts", "template"), ("templates", "names")),
    **dict.fromkeys(("output", "output-dir", "outdir", "save", "save-to", "dest", "to", "o"), ("out",)),
    **dict.fromkeys(("topk", "top-k", "n", "num", "limit", "count", "max", "results"), ("top",)),
    **dict.fromkeys(("batch-size", "bs"), ("train-batch", "batch")),
    **dict.fromkeys(("learning-rate",), ("lr",)),
    **dict.fromkeys(("model", "model-name", "arch", "clip", "encoder", "pretrained", "weights"), ("backbone",)),
    **dict.fromkeys(("gpu", "cuda", "cpu"), ("device",)),
    **dict.fromkeys(("fp16", "bf16", "half", "dtype", "amp"), ("precision",)),
    **dict.fromkeys(("force", "yes", "y", "f"), ("overwrite",)),
    **dict.fromkeys(("format", "output-format"), ("json", "out")),
    **dict.fromkeys(("algorithm", "system", "approach"), ("method",)),
    **dict.fromkeys(("num-workers", "jobs", "threads", "j"), ("workers",)),
    **dict.fromkeys(("min-score", "min-prob", "confidence", "cutoff", "cut"), ("threshold", "at-least")),
    **dict.fromkeys(("images", "image", "photos", "photo", "input", "data", "dir", "folder", "path", "i"), ()),
    **dict.fromkeys(("filter",), ("where",)),
    **dict.fromkeys(("negative", "not", "exclude"), ("minus",)),
    **dict.fromkeys(("num-epochs", "max-epochs"), ("epochs",)),
    **dict.fromkeys(("max-steps", "iterations"), ("steps",)),
})  # fmt: skip
"""Flag of other tools -> ours, the first that a command has; () for what is typed without a flag."""
ANSWERED: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(
        ("quiet", "q", "no-progress", "silent", "s"), "progress goes to stderr, which '2>/dev/null' leaves out."
    ),
    **dict.fromkeys(("recursive", "r"), "a folder is read with all folders below it."),
})  # fmt: skip
"""Flag of other tools -> how it is without one."""


def command_meant(words: Sequence[str], known: Iterable[str]) -> UsageError:
    """Return the error for a first word that is no command: one sentence with what to type.

    Args:
        words: what was typed behind ``diptych``.
        known: commands.

    Example:
        >>> print(command_meant(["embed", "photos"], ["encode"]))
        There is no command 'embed': use 'diptych encode'.
    """
    word, names = words[0], list(known)
    begin = f"There is no command {word!r}:"
    if remark := _meaning(ABSENT, word):
        return UsageError(f"{begin} {remark}")
    if ours := _meaning(COMMANDS, word):
        return UsageError(f"{begin} use 'diptych {ours}'.")
    if _is_system(word):
        return UsageError(f"{begin} it is a system, and 'diptych systems {word}' says which command runs it.")
    if Path(word).exists():
        example = f'diptych classify {shlex.quote(word)} --names "cat, dog"'
        return UsageError(f"{begin} it is a path; say first what to do with it, such as '{example}'.")
    if near := get_close_matches(word.lower(), [*names, *COMMANDS], n=1, cutoff=0.75):
        return UsageError(f"{begin} did you mean 'diptych {COMMANDS.get(near[0], near[0])}'?")
    return UsageError(f"{begin} 'diptych --help' lists them.")


def flag_meant(name: str, command: Any, typed: str) -> UsageError:
    """Return the error for a flag that a command does not have: one sentence with what to type.

    Args:
        name: the command, such as "diptych board classify".
        command: with the parameters that it has.
        typed: the flag, such as "--labels".
    """
    flags = sorted({o for p in command.params if p.param_type_name == "option" for o in p.opts if o.startswith("--")})
    word = typed.lstrip("-").partition("=")[0].lower().replace("_", "-")
    begin, listing = f"'{name}' has no {typed}:", f"'{name} --help' lists what it has."
    if hasattr(command, "commands"):
        listing = f"flags of a command stand behind it, and '{name} --help' lists commands."
    elif example := re.search(r"\$ (diptych .+)", command.help or ""):
        listing = f"type it as in '{example[1]}', or see '{name} --help'."
    if word in ANSWERED:
        return UsageError(f"{begin} {ANSWERED[word]}")
    ours = next((f"--{flag}" for flag in FLAGS.get(word, ()) if f"--{flag}" in flags), "")
    places = [p for p in command.params if p.param_type_name == "argument"]
    if not ours and places and word in FLAGS and not FLAGS[word]:
        words = " and ".join((place.metavar or place.name).strip("{}").lower() for place in places)
        return UsageError(f"{begin} type the {words} without a flag, right behind '{name}'.")
    if not ours and (near := get_close_matches(word, [flag[2:] for flag in flags], n=1, cutoff=0.75)):
        ours = f"--{near[0]}"
    return UsageError(f"{begin} did you mean {ours}?" if ours else f"{begin} {listing}")


def _meaning(meanings: Mapping[str, str], word: str) -> str:
    """Return the meaning of a word in any case, with hyphens, underscores or neither."""
    plain = _plain(word)
    return next((meaning for known, meaning in meanings.items() if _plain(known) == plain), "")


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _is_system(word: str) -> bool:
    from diptych.catalog import slugs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # a broken plugin is not what was asked about
        return word in slugs()
