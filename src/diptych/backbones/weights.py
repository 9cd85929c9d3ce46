"""Weight files: finding, reading without running code in them, recognition by names of tensors, and strict loading."""

from __future__ import annotations

import json
import pickle
import shlex
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones import released
from diptych.backbones.file_kinds import check_weight_file
from diptych.backbones.released_checks import misfit, refuse_not_finite, remedy, rounded
from diptych.backbones.released_names import ReadTensors, spelling, translated, wrapper_of
from diptych.backbones.unpickling import read_apart
from diptych.core import DataError, NotAvailable, UsageError

OPENCLIP_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
SHARED_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
OUTER = ("state_dict", "model_state_dict", "model")
"""Top-level keys under which trainers keep the tensors."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that distributed training and compilation put before every name."""


def find_weights(folder: Path) -> Path:
    """Return the weight file of an open_clip folder; safetensors and open_clip's own names come first.

    Raises:
        NotAvailable: the folder has no weight file, for which open_clip would use random weights.
    """
    for name in OPENCLIP_FILES + SHARED_FILES:
        if (folder / name).is_file():
            return folder / name
    raise NotAvailable(
        f"{folder} holds no weights: put {OPENCLIP_FILES[0]} (or {', '.join(OPENCLIP_FILES[2:] + SHARED_FILES[:2])}) "
        f"there."
    )


def read_state(path: Path, *, allow_pickle: bool | None = False, opens: str = "") -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or torch file onto the CPU; ``allow_pickle`` runs the pickle or TorchScript
    archive in a torch file, which must be trusted; None: as False where no user can allow it, so that no error advises
    it. ``opens`` is the key of the tensors, "a.b" for one inside another, "" one of ``OUTER``.

    Returns:
        Name -> tensor, without the "module." and "_orig_mod." that distributed training and compilation put before most
        names.

    Raises:
        UsageError: there is no such file, it has more than tensors and ``allow_pickle`` is False, or is no torch file.
        DataError: the file is damaged, has no state dict, or is no weight file: a web page, a pointer, an archive.
    """
    check_weight_file(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _tensors(load_file(path), path, opens)
        except SafetensorError as error:
            raise DataError(f"{path} is damaged ({error}): download it again.") from error
    if path.suffix == ".npz":
        raise UsageError(
            f"{path} holds big_vision arrays: use the converted weights that open_clip publishes, such as "
            f"ViT-B-16-SigLIP/webli."
        )
    if _is_torchscript(path):
        if not allow_pickle:
            raise _is_archive(path, allow_pickle)
        state: object = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    else:
        more = f"take them out once, where you trust it, by {tensors_alone(path, opens)}{_or_allow(allow_pickle)}"
        state = _unpickled(path) if allow_pickle else read_apart(path, more)
    return _tensors(state, path, opens)


def read_nested(path: Path, more: str) -> Any:
    """Read what a .safetensors or torch file holds, as it lies there; nothing of it is run, see ``unpickling``. The
    tensors are read from the disk when they are used.

    Args:
        path: of the file.
        more: what a user shall do where the file holds more than tensors and plain values.

    Raises:
        UsageError: there is no such file, it is a TorchScript archive, or it holds more.
        DataError: the file is damaged.
    """
    if path.suffix == ".safetensors":
        return read_state(path)
    check_weight_file(path)
    if _is_torchscript(path):
        raise _is_archive(path, None)
    return read_apart(path, more)


def _or_allow(allow_pickle: bool | None) -> str:
    return "." if allow_pickle is None else ", or pass allow_pickle=True (NAME?allow-pickle)."


def _is_archive(path: Path, allow_pickle: bool | None) -> UsageError:
    more = f"take its tensors out once, where you trust it, by {archive_alone(path)}{_or_allow(allow_pickle)}"
    return UsageError(f"{path} is a TorchScript archive, which can run code: {more}")


def _unpickled(path: Path) -> object:
    """Read a torch file that the user trusts: what its pickle says is run."""
    try:
        with warnings.catch_warnings():  # torch warns of old pickle protocols, which it then reads
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is no readable weight file: download it again.") from error


def taken_out(name: str) -> str:
    """Return the name of the file that ``tensors_alone`` writes for one.

    Example:
        >>> taken_out("net.pth"), taken_out("model.pth.tar-50"), taken_out("model.pth.tar-10")
        ('net.tensors.pt', 'model.pth.tar-50.tensors.pt', 'model.pth.tar-10.tensors.pt')
    """
    stem, _, end = name.rpartition(".")
    return f"{stem if stem and end.isalpha() else name}.tensors.pt"


def tensors_alone(path: Path, opens: str = "") -> str:
    """Return the command by which a person takes the tensors out of a pickle that holds more.

    Example:
        >>> print(tensors_alone(Path("a.pth"), "m"))
        python -c 'import torch; s = torch.load("a.pth", "cpu", weights_only=False); torch.save(s["m"], "a.tensors.pt")'
    """
    path_of_keys = "".join(f"[{json.dumps(key)}]" for key in opens.split("."))
    inside = f"s{path_of_keys}" if opens else f"next((s[k] for k in {json.dumps(OUTER)} if k in s), s)"
    files = json.dumps(str(path)), json.dumps(str(path.with_name(taken_out(path.name))))
    script = f'import torch; s = torch.load({files[0]}, "cpu", weights_only=False); torch.save({inside}, {files[1]})'
    return f"python -c {shlex.quote(script)}"


def archive_alone(path: Path) -> str:
    """Return the command by which a person takes the tensors out of a TorchScript archive.

    Example:
        >>> print(archive_alone(Path("a.pt")))
        python -c 'import torch; torch.save(torch.jit.load("a.pt", "cpu").state_dict(), "a.tensors.pt")'
    """
    files = json.dumps(str(path)), json.dumps(str(path.with_name(taken_out(path.name))))
    script = f'import torch; torch.save(torch.jit.load({files[0]}, "cpu").state_dict(), {files[1]})'
    return f"python -c {shlex.quote(script)}"


def _tensors(state: object, path: Path, opens: str = "") -> ReadTensors:
    if isinstance(state, Mapping):
        for keys in ((key,) for key in opens.split(".")) if opens else (OUTER,):
            state = next((state[key] for key in keys if isinstance(state.get(key), Mapping)), state)
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"{path} holds no state dict: save model.state_dict() as safetensors.")
    jit_facts = {"input_resolution", "context_length", "vocab_size"}
    tensors = {str(k): v for k, v in state.items() if k not in jit_facts}
    # Most and not all: a tensor beside the wrapped ones, such as AveragedModel's counter, is then named by itself.
    state = ReadTensors(tensors)
    while wrapper := next((w for w in WRAPPERS if 2 * sum(k.startswith(w) for k in state) > len(state)), ""):
        inside = state.without(wrapper)
        if len(inside) < len(state):
            break
        state = inside
    return state


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(n.endswith("/constants.pkl") for n in archive.namelist())


def layout(names: Mapping[str, object]) -> str:
    """Return the format by names of tensors: "open_clip", "transformers", "mobileclip" or "unknown"."""
    if any(k.startswith(("vision_model.", "text_model.")) for k in names):
        return "transformers"
    if any(k.startswith("image_encoder.") for k in names):
        return "mobileclip"
    if any(k.startswith("visual.") for k in names):
        return "open_clip"
    return "unknown"


def load_openclip(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: Path,
    *,
    halved: bool = False,
    otherwise: str = "state the architecture that it was saved from",
) -> None:
    """Copy an open_clip state into a module, converted to the module's own types; every tensor must match. Formats of
    released files that ``backbones.released`` knows are translated; ``halved`` rounds as ``released_checks.rounded``
    does, and ``otherwise`` is what to do where most tensors do not fit.

    Raises:
        DataError: the state has another format, or tensors are missing, unexpected, of another shape or infinite.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    by, wrapper = released.recognised(state) or released.ReleasedTable("", ""), wrapper_of(state)
    state, origins = translated(state, by, source)
    layout_of_state = layout(state)
    if layout_of_state == "transformers":
        raise DataError(
            f"{source} holds transformers weights, not open_clip's: load its folder with hf:org/name or local:FOLDER "
            f"beside config.json."
        )
    if layout_of_state == "unknown":
        raise DataError(
            f"{source} holds no CLIP weights that are known here: no tensor starts with visual., vision_model. or "
            f"image_encoder."
        )
    converted = dict(convert_state_dict(module, dict(state)))
    if "positional_embedding" in converted and not hasattr(module, "positional_embedding"):
        converted = convert_to_custom_text_state_dict(converted)
        origins |= {f"text.{name}": theirs for name, theirs in origins.items() if f"text.{name}" in converted}
    converted.pop("text.transformer.embeddings.position_ids", None)  # old transformers saved this constant
    wanted = module.state_dict()
    for name in ("logit_scale", "logit_bias"):  # a scalar or a vector of one: both are published
        if name in converted and name in wanted and converted[name].numel() == 1:
            converted[name] = converted[name].reshape(wanted[name].shape)
    names = spelling(by, origins, source, wrapper)
    if complaints := misfit(converted, wanted, names):
        do = remedy(converted, wanted, otherwise)
        raise DataError(f"{source} does not fit the architecture, tensors {complaints}: {do}.")
    refuse_not_finite(converted, source, names)
    module.load_state_dict(rounded(converted) if halved else converted)
