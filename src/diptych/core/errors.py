"""Every error a user can meet, each one sentence with its remedy.

    DiptychError                exit 1
    ├── UsageError              exit 2   the call cannot mean anything, or nothing lies at its path
    ├── DataError               exit 1   what lies there cannot be used as it is
    │   └── UnreadableItem      exit 3   one item cannot be decoded (collected, skipped and counted by tasks)
    ├── NotAvailable            exit 4   a model, weight or data set with a name is not on this machine
    ├── BoundBroken             exit 5   a stated bound (parity, accuracy gate, false-alarm rate) does not hold
    ├── MissingHook             exit 1   this backbone lacks what the system needs
    ├── MissingPart             exit 1   the kit lacks a part (writer, mask proposer, ...)
    ├── MissingEvidence         exit 2   fit needs train, val, unlabelled or texts that were not given
    ├── MissingExtra            exit 1   an optional dependency is not installed
    └── DamagedStore            exit 1   a file of the cache is damaged

The command line prints ``str(error)`` and exits with ``error.exit_code``; it shows a traceback only with ``--debug``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, ClassVar, TypedDict

ARGUMENT = re.compile(r"(?<!')\{([a-z][a-z_]*)\}(?!')")
"""An argument in the text of an error: its name in braces; in quotes it is a placeholder of a template."""


class DiptychError(Exception):
    """Base of all errors that a user is meant to read. The text names arguments of a verb in braces, ``{normal}``, and
    each face spells them: ``--normal``, ``normal=``, ``"normal"``.

    Example:
        >>> error = UsageError("Give {normal}, or leave out {rate}.")
        >>> print(error)
        Give normal, or leave out rate.
        >>> error.spelled(lambda name: f"--{name}")
        'Give --normal, or leave out --rate.'
    """

    exit_code: ClassVar[int] = 1

    def spelled(self, spell: Callable[[str], str]) -> str:
        """Return the sentence with each argument as ``spell`` writes it."""
        return ARGUMENT.sub(lambda match: spell(match[1]), super().__str__())

    def __str__(self) -> str:
        return self.spelled(str)


class UsageError(DiptychError):
    """The call contradicts itself or names something that does not exist."""

    exit_code = 2


class DataError(DiptychError):
    """The user's data cannot be used as they are."""


class SkippedRow(TypedDict):
    """A picture that was left out."""

    path: str
    reason: str


class UnreadableItem(DataError):
    """One item (an image, a row) cannot be decoded.

    Args:
        name: what the user calls the item, usually its path.
        reason: a few words, such as "truncated JPEG" or "larger than 178,956,970 pixels".
    """

    exit_code = 3

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableItem], tuple[str, str]]:
        return type(self), (self.name, self.reason)

    def as_dict(self) -> SkippedRow:
        """Return what a report lists under "skipped"."""
        return {"path": self.name, "reason": self.reason}


class NotAvailable(DiptychError):
    """A model, weight file or data set is not on this machine and may not be fetched."""

    exit_code = 4


class BoundBroken(DiptychError):
    """A bound that the user or a gate stated does not hold."""

    exit_code = 5


class MissingHook(DiptychError):
    """This backbone lacks the inner access (tower, dense map) that a system needs."""


class MissingPart(DiptychError):
    """The kit lacks a part that a system needs."""


class MissingEvidence(DiptychError):
    """Fit needs evidence (train, val, unlabelled, texts) that was not given."""

    exit_code = 2


class MissingExtra(DiptychError):
    """An optional dependency is not installed.

    Args:
        package: distribution that is missing.
        extra: the extra of diptych that brings it; "" where none does.
        purpose: what it is needed for, in a few words.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: run {install(extra) if extra else f'pip install {package}'}.")
        self.package, self.extra, self.purpose = package, extra, purpose

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return type(self), (self.package, self.extra, self.purpose)


def install(extra: str) -> str:
    """Return the command that adds an extra. It works in a checkout, since diptych is on no package index."""
    return f"pip install '.[{extra}]' in a checkout of diptych"


EXTRAS: dict[str, dict[str, str]] = {
    "train": {"tensorboard": "tensorboard"},
    "wandb": {"wandb": "wandb"},
    "lora": {"peft": "peft"},
    "openvino": {"openvino": "openvino", "nncf": "nncf"},
    "heif": {"pillow-heif": "pillow_heif"},
    "video": {"av": "av"},
    "slides": {"tiffslide": "tiffslide"},
    "points": {"trimesh": "trimesh"},
    "writers": {"gguf": "gguf"},
    "scale": {"ray": "ray"},
    "diffusion": {"diffusers": "diffusers"},
    "index": {"faiss-cpu": "faiss", "rapidfuzz": "rapidfuzz"},
    "lance": {"pylance": "lance"},
    "plot": {"matplotlib": "matplotlib"},
    "qdrant": {"qdrant-client": "qdrant_client"},
    "serve": {
        "fastapi": "fastapi",
        "uvicorn": "uvicorn",
        "h11": "h11",
        "python-multipart": "python_multipart",
        "jinja2": "jinja2",
        "prometheus-client": "prometheus_client",
    },
}
"""Extra -> its distributions, each with the module it installs; ``need_extra`` checks the first by default."""


def need_extra(extra: str, purpose: str, package: str = "") -> None:
    """Raise where a distribution of an extra is not installed, without importing it.

    Args:
        extra: name of the extra of diptych.
        purpose: what it is needed for, in a few words.
        package: the distribution; "" is the first of the extra.

    Raises:
        MissingExtra: the distribution is not installed.
    """
    package = package or next(iter(EXTRAS[extra]))
    if find_spec(EXTRAS[extra][package]) is None:
        raise MissingExtra(package, extra, purpose)


def need_pandas() -> Any:
    """Return pandas; raises MissingExtra where it is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtra("pandas", "", "to_pandas") from None
    return pd


def need_onnx() -> None:
    """Refuse to begin an export where the package that writes graphs is absent.

    Raises:
        DiptychError: it is.
    """
    if find_spec("onnx") is None:
        raise DiptychError("An export needs onnx, which is not installed: run pip install onnx.")


class DamagedStore(DiptychError):
    """A file of the embedding cache is damaged; only that part is computed again."""


class Diverged(DiptychError):
    """A training met a loss that is not finite."""


class Collapsed(DiptychError):
    """All embeddings of a modality became almost equal in training, so that no item can be distinguished."""
