"""Arguments of other libraries, and what to write here; names of attributes stand in ``core.guesses``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

from diptych.core.wording import first_of

P = ParamSpec("P")
R = TypeVar("R")
OF_LOAD = {
    **dict.fromkeys(
        ("model", "model_name", "arch", "checkpoint", "model_id", "model_name_or_path", "backbone",
         "pretrained_model_name_or_path"),
        "name=",
    ),
    **dict.fromkeys(
        ("dtype", "torch_dtype", "fp16", "half", "amp"), "write precision='exact' (fp32), or 'fast' (bf16)."),
    **dict.fromkeys(("cache_dir", "cache_folder", "download_root"), "cache="),
    **dict.fromkeys(("local_files_only",), "offline="),
    **dict.fromkeys(("device_map", "map_location"), "device="),
    **dict.fromkeys(("jit", "trust_remote_code", "force_quick_gelu", "return_transform"), "leave it out."),
    **dict.fromkeys(("batch", "batch_size", "workers", "num_workers"),
                    "leave it out: encode_image(photos, batch_size=...) takes one."),
    **dict.fromkeys(("verbose", "show_progress_bar"), "progress="),
}  # fmt: skip
"""Argument of other libraries' loaders -> what to write for ``load``."""
OF_ENCODE = {
    "convert_to_tensor": "write output='torch'.",
    "convert_to_numpy": "leave it out: output='numpy' is the default.",
    "normalize_embeddings": "normalize=",
    **dict.fromkeys(("show_progress_bar", "verbose"), "progress="),
    **dict.fromkeys(("num_workers", "workers", "padding", "chunk_size", "pool"), "leave it out."),
    "return_tensors": "write output='torch'.",
    **dict.fromkeys(("truncate", "truncation", "max_length"), "write it at load: diptych.load(name, truncate=True)."),
    **dict.fromkeys(("dtype", "precision", "half"), "write it at load: diptych.load(name, precision='fast')."),
    **dict.fromkeys(("prompt", "prompt_name", "task"), "write the words around each text yourself."),
    **dict.fromkeys(("truncate_dim", "dimensions", "dim"), "take columns of what is returned."),
    **dict.fromkeys(("output_value", "convert_to_list"), "leave it out: rows of an array are returned."),
}
"""Argument of other libraries' encoders -> what to write for ``encode_image`` and ``encode_text``."""

OF_DATA = {
    **dict.fromkeys(("split", "splits", "subset", "train"), "take one of what is returned: open_data(data)['test']."),
    **dict.fromkeys(("path", "folder", "root", "name", "data_dir", "data_files", "source"), "data="),
    **dict.fromkeys(("transform", "transforms", "preprocess"), "leave it out: a model prepares photos itself."),
    **dict.fromkeys(("streaming", "download", "shuffle", "batch_size", "num_workers", "cache_dir"), "leave it out."),
    **dict.fromkeys(("image_column", "img_key", "image_key"), "image="),
    **dict.fromkeys(("caption", "captions", "caption_column", "caption_key"), "text="),
    **dict.fromkeys(("labels", "target", "label_column", "class_column"), "label="),
}
"""Argument of other libraries' readers of data -> what to write for ``open_data``."""


def answers_for(elsewhere: Mapping[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function answer arguments that it does not have with what to write; its signature stays as it is.

    Args:
        elsewhere: name that other libraries have -> what to write here, a name with "=" or a sentence.

    Example:
        >>> @answers_for({"topk": "top="})
        ... def found(top: int = 3) -> int:
        ...     return top
        >>> found(topk=1)
        Traceback (most recent call last):
        TypeError: found takes no topk=: did you mean top=?
    """

    def answering(function: Callable[P, R]) -> Callable[P, R]:
        known = inspect.signature(function).parameters

        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            unknown = next((name for name in given if name not in known), None)
            if unknown is not None:
                raise TypeError(f"{function.__qualname__} takes no {unknown}=: {_instead(unknown, known, elsewhere)}")
            refuse_more_by_position(function.__qualname__, known, args)
            return function(*args, **given)

        return call

    return answering


def refuse_more_by_position(function: str, known: Mapping[str, inspect.Parameter], given: Sequence[object]) -> None:
    """Refuse more arguments by position than a function takes.

    Raises:
        TypeError: there are more; it names those that are written with their names.
    """
    places = [n for n, p in known.items() if p.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(given) > len(places) and not any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in known.values()):
        by_name = [f"{n}=" for n, p in known.items() if p.kind == inspect.Parameter.KEYWORD_ONLY]
        raise TypeError(
            f"{function} takes {', '.join(places)} by position: write the name before {given[len(places)]!r}, one of "
            f"{first_of(by_name, 6)}."
        )


def _instead(name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    if (meant := elsewhere.get(name, "")) and not meant.endswith("="):
        return meant
    names = [n for n in known if n != "self"]
    near = [meant.removesuffix("=")] if meant else get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]}=?" if near else f"it takes {', '.join(names)}."
