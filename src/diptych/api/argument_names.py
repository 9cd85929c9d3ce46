"""Names of arguments as other libraries and the command line have them, and a model where the folder to write stands:
taken, or answered with what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from diptych.backbones.names import reads_as_name
from diptych.core import UsageError
from diptych.core.wording import renamed
from diptych.verbs.declare import Verb

ELSEWHERE = {
    **dict.fromkeys(("classes", "labels", "candidate_labels", "class_names"), "names"),
    **dict.fromkeys(("prompt", "prompts", "template"), "templates texts target thing"),
    **dict.fromkeys(("instruction", "edit_prompt"), "target"),
    **dict.fromkeys(("top_k", "topk", "k", "n", "n_results"), "top count"),
    **dict.fromkeys(("num_images", "num_images_per_prompt", "num_samples", "n_images"), "count"),
    **dict.fromkeys(("num_captions", "num_return_sequences", "num_beams"), "n"),
    **dict.fromkeys(("good", "reference", "references", "train", "train_data", "support", "normals"), "normal"),
    **dict.fromkeys(("contamination", "false_alarms", "fpr"), "rate"),
    **dict.fromkeys(("max_length", "max_new_tokens", "image_size", "resolution", "imgsz"), "settings"),
    **dict.fromkeys(("images", "image", "files", "paths"), "photos"),
    **dict.fromkeys(("text", "captions"), "texts target names thing"),
    **dict.fromkeys(("batch_size",), "train_batch"),
    **dict.fromkeys(("learning_rate",), "lr"),
    **dict.fromkeys(("eta_min", "lr_min", "lr_end", "lr_cooldown_end"), "min_lr"),
    **dict.fromkeys(("method_name", "system", "systems", "algorithm", "classifier", "classifiers", "estimators"),
                    "method methods"),
    **dict.fromkeys(("output", "output_dir", "save_to"), "out"),
    **dict.fromkeys(("backbone", "model_name", "clip"), "model"),
    **dict.fromkeys(("random_state", "random_seed", "manual_seed"), "seed seeds"),
    **dict.fromkeys(("format", "export_format", "quantize", "quantization"), "to"),
    **dict.fromkeys(("on", "left_on", "right_on"), "text_columns"),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs", "num_train_epochs"), "epochs"),
    **dict.fromkeys(("max_steps", "num_steps", "iterations", "num_inference_steps"), "steps"),
    **dict.fromkeys(("train_batch_size", "per_device_train_batch_size"), "train_batch"),
    **dict.fromkeys(("warmup_steps", "warmup_ratio"), "warmup"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_scheduler_type"), "schedule"),
    **dict.fromkeys(("freeze", "trainable", "lock_image", "lora", "peft_config"), "parts"),
    **dict.fromkeys(("eval_dataset", "eval_data", "val_data", "validation_data"), "also"),
    **dict.fromkeys(("frac", "fraction", "ratio"), "share"),
    "weight_decay": "decay",
    "resume_from_checkpoint": "resume",
}  # fmt: skip
"""Name that others have -> ours, the first that a function has."""
NOWHERE = {
    **dict.fromkeys(("cv", "n_splits"), "boards measure on the test split, and diptych.recommend by folds"),
    **dict.fromkeys(("scoring", "metric", "metrics"), "to_pandas() of what is returned has every measure"),
    **dict.fromkeys(("n_jobs", "num_proc"), "threads are chosen on the first photos"),
    "how": "every link is of a left and a right record",
    **dict.fromkeys(("opset", "opset_version", "dynamic_axes", "dynamic"), "graphs take batches of any size"),
    **dict.fromkeys(("callbacks", "logger", "report_to"), "log.jsonl in the folder of a training has every step"),
    **dict.fromkeys(("height", "width", "size"), "a picture is as large as what draws it, or as the photo"),
    **dict.fromkeys(("alpha", "opacity"), "results[i].labels is the label map, to be drawn in any way"),
    **dict.fromkeys(("return_masks", "return_dict", "return_tensors"), "each result has labels or map"),
    **dict.fromkeys(
        ("verbose", "show_progress", "show_progress_bar"), "model=diptych.load(NAME, progress=...) shows it"
    ),
    "modality": "it is read from the samples",
}
"""Name that others have, and nothing here has -> why it can be left out."""
OF_MODELS = ("device", "precision", "engine", "cache", "progress")
"""What ``diptych.load`` takes."""
BY_THE_RUN = ("batch", "batch_size", "workers", "num_workers")
"""What every function chooses itself, or its trainings have a name for."""


def in_our_names(verb: type[Verb], signature: inspect.Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by the names of the signature: those of the command's flags are taken, and former ones with a
    warning.

    Raises:
        TypeError: there is none of this name, and which one is meant; or one is given twice, by two names.
    """
    known = signature.parameters
    flags = {a.flag.strip("-").replace("-", "_"): name for name, a in verb.arguments("python").items() if a.flag}
    named: dict[str, Any] = {}
    for name, value in given.items():
        ours = name if name in known else verb.former.get(name) or flags.get(name)
        if ours is None:
            raise TypeError(_unknown(verb, list(known), name))
        if ours in named:
            raise TypeError(f"{_function(verb)} got {ours}= twice, under two names: leave out one of them.")
        if ours == verb.former.get(name):
            renamed(f"{name}=", f"{ours}=")
        named[ours] = value
    return named


def refuse_model_as_out(signature: inspect.Signature, args: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Refuse a model's name by position where the folder to write is taken: it would become a folder of that name.

    Raises:
        UsageError: the name stands there, and no model is given.
    """
    out = signature.bind_partial(*args).arguments.get("out")
    if "model" in signature.parameters and given.get("model") is None and isinstance(out, str) and reads_as_name(out):
        raise UsageError(
            f"{out!r} is the name of a model, and stands where the folder to write does: write model={out!r}, or "
            f"out={out!r} for a folder of this name."
        )


def refuse_model_first(verb: type[Verb], signature: inspect.Signature, args: Sequence[Any]) -> None:
    """Refuse a loaded model by position where the data stand: other libraries have it first.

    Raises:
        UsageError: it is the first argument, and another one is meant.
    """
    first = next(iter(signature.parameters))
    if args and first != "model" and hasattr(args[0], "encode_image"):
        raise UsageError(f"{_function(verb)} begins with {first}, and takes a loaded model as model=.")


def _function(verb: type[Verb]) -> str:
    return f"diptych.{verb.name.replace(' ', '.').replace('-', '_')}"


def _unknown(verb: type[Verb], known: list[str], name: str) -> str:
    function = _function(verb)
    meant = ELSEWHERE.get(name, "")
    if name in NOWHERE and not meant:
        return f"{function} takes no {name}=: leave it out, for {NOWHERE[name]}."
    near = [n for n in meant.split() if n in known] or get_close_matches(name, known, n=1, cutoff=0.6)
    if not near and name in OF_MODELS and "model" in known:
        return f"{function} takes no {name}=: load the model with it, model=diptych.load(NAME, {name}=...)."
    if not near and name in BY_THE_RUN:
        return (
            f"{function} takes no {name}=: leave it out, it is chosen on the first photos; load's models encode with "
            "encode_image(photos, batch_size=...)."
        )
    hint = f"did you mean {near[0]}=?" if near else f"it takes {', '.join(known)}."
    return f"{function} takes no {name}=: {hint}"
