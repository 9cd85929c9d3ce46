"""What is known of an argument of a verb, and the arguments that several verbs have. Loads no torch."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

from diptych.core import Range
from diptych.core.ranges import at_least
from diptych.verbs import kinds
from diptych.verbs.kinds import Kind
from diptych.verbs.reads import Reads, uses

Face = Literal["command", "python", "http"]
FACES: tuple[Face, ...] = ("command", "python", "http")
LOCAL: tuple[Face, ...] = ("command", "python")
"""Faces of what reads or writes files of this machine."""


@dataclass(frozen=True)
class Argument:
    """What is known of an argument beside its name, type and default.

    Args:
        help: one sentence, the same on every face.
        kind: how its values are written.
        flag: of the command; "": from the name.
        short: a second flag of one letter.
        json: name in the HTTP body; "": its own.
        range: values that are allowed.
        faces: where it exists.
        panel: heading under which the help of the command lists it.
        reads: which systems read it; None: the verb reads it, whatever the system.
        evidence: field of the evidence that it gives, for systems that must have it.
        fits: whether a fit alone reads it, so that beside a folder with what was fitted another value is refused.
        positional: whether the Python function takes it by position.
        word: whether the command takes it without a flag though it has a default; ``flag`` is then its name in the
            help, as it is of arguments without a default.
        shipped: values that a request over HTTP may have; () allows all. A request loads nothing from elsewhere.
        most: entries of a list that a request over HTTP may have, each a text of its own; 0: as many as class names.
    """

    help: str
    kind: Kind = kinds.PLAIN
    flag: str = ""
    short: str = ""
    json: str = ""
    range: Range | None = None
    faces: tuple[Face, ...] = FACES
    panel: str = ""
    reads: Reads | None = None
    evidence: str = ""
    fits: bool = False
    positional: bool = False
    word: bool = False
    shipped: tuple[str, ...] = ()
    most: int = 0


NAMES = 'Class names: a file, or "cat, dog, ..." (default: folder names).'
"""Help of an argument that several verbs have, as are the two below."""
TEMPLATES = "A file of prompts, or one prompt with {}; repeat for several (default: seven prompts)."
BOXES = "A table with one box per row, in pixels: the boxes are used instead of whole photos."


def argument(help: str, kind: Kind = kinds.PLAIN, default: Any = MISSING, **more: Any) -> Any:
    """Return the field of an argument; see ``Argument``."""
    if default is MISSING:
        return field(metadata={"argument": Argument(help, kind, **more)})
    return field(default=default, metadata={"argument": Argument(help, kind, **more)})


def class_names() -> Any:
    """Return the field of the names of classes."""
    help = 'Class names: "cat, dog, ...", or a file with one name per line (default: folder names).'
    return argument(help, kinds.NAMES, None, json="labels", positional=True)


def prompts() -> Any:
    """Return the field of the prompts around class names."""
    help = "Prompts with {} in place of the name, or a file of them; repeat for several (default: seven prompts)."
    return argument(help, kinds.TEMPLATES, None)


def method(default: str | None, help: str, flag: str = "--method") -> Any:
    """Return the field of the system that does the work."""
    return argument(help, kinds.SYSTEM, default, flag=flag, short="-m")


def like(help: str) -> Any:
    """Return the argument of the photos that a system learns from, where it learns from some."""
    return argument(help, kinds.TABLE, None, reads=uses("train", "texts", "unlabelled"), fits=True)


def fitted() -> Any:
    """Return the field of the folder with what the system fitted, see ``verbs.keeping``."""
    return argument("Folder of the fitted system: read if it exists, else written.", kinds.FOLDER, None)


def fit_workers() -> Any:
    """Return the field of the processes that load what a system learns from in steps."""
    return argument(
        "Processes that load and augment while a system is trained; 0: the training process does it itself.",
        default=0, range=at_least(0), panel="Model", faces=LOCAL,
    )  # fmt: skip


def served(kind: str) -> Any:
    """Return the field of a request that names a fitted system of the server, such as a segmenter."""
    help = f"Name of a fitted {kind} that the server was started with, in place of a method."
    return argument(help, default="", faces=("http",))


def settings(example: str = "epochs=100") -> Any:
    """Return the field of the system's own settings."""
    help = f"Settings of the system by name, such as {example}; 'published' takes those of the authors."
    return argument(f"{help} 'diptych systems SLUG' lists them.", kinds.SETTINGS, None, flag="--set")
