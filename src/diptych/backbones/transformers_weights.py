"""Models of transformers from a folder, all of whose weights are read: the library draws what is missing at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from diptych.backbones.file_kinds import check_folder, check_weight_file
from diptych.backbones.released_checks import refuse_not_finite
from diptych.core import DataError
from diptych.core.wording import first_of, one_line

_FAULTS = {"missing_keys": "missing", "unexpected_keys": "unexpected", "mismatched_keys": "of another shape"}


def read_model(kind: Any, folder: Path, *, exact: bool = False, **options: Any) -> nn.Module:
    """Load the model of a folder in transformers' format, without the network, and with every weight that it has.

    Args:
        kind: class of transformers with ``from_pretrained``, such as ``AutoModel``.
        folder: has config.json and the weights.
        exact: whether the weights may hold nothing else. Parts that a class leaves out, such as the head of another
            task, are in many published files.
        options: of ``from_pretrained``.

    Raises:
        DataError: a file is no weight file but a web page or a git-lfs pointer, the library cannot load the model, or a
            weight is missing, of another shape or infinite; the first three are named.
    """
    from safetensors import SafetensorError

    check_folder(folder)
    for file in (*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("pytorch_model*.bin"))):
        check_weight_file(file)
    try:
        model, info = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which are refused below, by name
            **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        words = one_line(str(error))[:120]
        raise DataError(
            f"transformers cannot load {folder} as {kind.__name__} ({words}): check its weights and config.json."
        ) from error
    learnt = {name for name, _ in model.named_parameters()}
    faults = {title: sorted(map(_fault, info.get(key, ()))) for key, title in _FAULTS.items()}
    if exact:
        faults["unexpected"] = [n for n in faults["unexpected"] if not n.endswith("position_ids")]  # of old versions
    else:
        faults["missing"] = [n for n in faults["missing"] if n in learnt]
        faults["unexpected"] = []
    if sentences := [f"{len(names)} {title} ({first_of(names)})" for title, names in faults.items() if names]:
        raise DataError(
            f"The weights in {folder} do not fit its config.json, tensors {'; '.join(sentences)}: get both from the "
            f"same place again."
        )
    refuse_not_finite({name: tensor.detach() for name, tensor in model.named_parameters()}, folder)
    read: nn.Module = model
    return read


def _fault(key: Any) -> str:
    """Return the name of a tensor that transformers reports, with both shapes where it has another."""
    if isinstance(key, str):
        return key
    name, given, wanted = key
    return f"{name}, {tuple(given)} and not {tuple(wanted)}"
