"""Editing: generators with a style space, their inverters, and the role that changes pictures by text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from diptych.core.data import Evidence, Samples
from diptych.core.errors import UsageError
from diptych.core.kit import Kit
from diptych.core.method import Method
from diptych.core.run import Run

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Styles:
    """Styles of B pictures, the input of a style generator.

    Args:
        s: (B, S) style channels, layer after layer: what an edit changes.
        rest: (B, R) all other inputs, which no edit changes (StyleGAN2: w+, from which its ToRGB layers compute their
            styles).
    """

    s: Tensor
    rest: Tensor

    def __len__(self) -> int:
        return len(self.s)

    def take(self, index: slice | Tensor) -> Styles:
        """Return the styles of the selected pictures."""
        return Styles(self.s[index], self.rest[index])


@runtime_checkable
class StyleGenerator(Protocol):
    """A deterministic, differentiable function from styles to pictures.

    Attributes:
        size: side of the square pictures, in pixels.
        channels: style channels per layer, coarsest layer first; S is their sum.
        fingerprint: hexadecimal hash, equal if and only if the pictures are.
    """

    @property
    def size(self) -> int:
        """Side of the pictures."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Style channels per layer."""

    @property
    def fingerprint(self) -> str:
        """Hash that is equal if and only if the pictures are."""

    def sample(self, n: int, g: torch.Generator, /) -> Styles:
        """Draw the styles of n pictures, on the CPU."""

    def synthesise(self, styles: Styles, /) -> Tensor:
        """Return (B, 3, size, size) float32 pictures in [0, 1], on the device of the styles.

        A generator that clips for that may offer the pictures before it as ``unclipped(styles)``.
        """


@runtime_checkable
class Inverter(Protocol):
    """Finds the styles from which a generator reproduces given pictures as closely as possible."""

    def invert(self, images: Tensor, /) -> Styles:
        """Return the styles of (B, 3, size, size) pictures in [0, 1], of the inverter's ``size`` where it has one, and
        else of the generator's.
        """


Start = Literal["drawn", "pictures", "clips", "nothing"]
"""What an editor begins with: styles drawn from a generator, pictures, clips, or nothing but words."""


@dataclass(frozen=True)
class Takes:
    """What an editor reads of a request; the verb loads and checks just that.

    Args:
        start: what it may begin with.
        source: whether it must be told what is there, in words.
        targets: most target texts of one request; None: any number.
        reference: whether it needs a reference picture ("must"), can use one ("may"), or takes none ("no").
        masks: the same for masks of what may change.
        strength: whether the strength of the edit can be chosen.
        threshold: whether the threshold of what may change can be chosen.
    """

    start: tuple[Start, ...] = ("drawn", "pictures")
    source: bool = True
    targets: int | None = 1
    reference: Literal["no", "may", "must"] = "no"
    masks: Literal["no", "may", "must"] = "no"
    strength: bool = True
    threshold: bool = False

    def check(self, ask: EditAsk, name: str) -> None:
        """Refuse a request that the editor cannot answer.

        Raises:
            UsageError: something is missing, or the editor does not read it.
        """
        if ask.start not in self.start:
            named = {"drawn": "styles of a generator", "nothing": "words alone"}
            able = " or ".join(named.get(s, s) for s in self.start)
            raise UsageError(f"{name} begins with {able}, not with {named.get(ask.start, ask.start)}: give that.")
        self.check_words(ask.source, ask.targets, name)
        for what, rule, given in (
            ("reference picture", self.reference, ask.reference is not None),
            ("mask", self.masks, ask.masks is not None),
        ):
            if rule == "must" and not given:
                raise UsageError(f"{name} needs a {what}, and the request has none: give one.")
            if rule == "no" and given:
                raise UsageError(f"{name} takes no {what}: leave it out.")
        if not self.strength and ask.strength != 1.0:
            raise UsageError(f"{name} has no strength to choose, got {ask.strength:g}: leave it out.")
        if not self.threshold and ask.threshold is not None:
            raise UsageError(f"{name} has no threshold, got {ask.threshold:g}: leave it out.")

    def check_words(self, source: str, targets: tuple[str, ...], name: str) -> None:
        """Refuse words that the editor cannot use, before anything is loaded.

        Raises:
            UsageError: words are missing or too many.
        """
        if not targets or not all(t.strip() for t in targets) or (self.source and not source.strip()):
            wanted = "words for what is there and for what shall be" if self.source else "words for what shall be"
            raise UsageError(
                f"{name} needs {wanted}, got source {source!r} and target {', '.join(map(repr, targets)) or 'none'}: "
                f"give them."
            )
        if self.targets is not None and len(targets) > self.targets:
            raise UsageError(f"{name} takes {self.targets} target text at once, got {len(targets)}: give fewer.")


@dataclass(frozen=True)
class EditAsk:
    """One edit: what to change, in words, and what to begin with.

    Args:
        source: what is there, in words: "a red circle", or a neutral word such as "face"; "" where the editor does not
            ask.
        target: what replaces it: "a blue circle"; several for an editor that takes several.
        styles: pictures of a generator; give these, or
        images: pictures of any origin; or
        clips: clips, each a tuple of frames; or none of the three, for an editor that begins with words alone.
        reference: a picture that shows what the words mean: a subject, or a style.
        masks: N masks of N pictures, bool arrays (H, W) of their sizes, or (J, H, W) of J targets: where a picture may
            change; an empty one changes nothing.
        strength: factor on the change, in the editor's own unit; 1 is its default and 0 gives the input back.
        threshold: in the place of the editor's own threshold of what may change.
        count: pictures wanted for each target, of an editor that begins with words alone, >= 1.

    Raises:
        UsageError: more than one start is given, a strength is negative, or the count is below 1.

    Example:
        >>> EditAsk("a red circle", "a blue circle").start
        'nothing'
        >>> EditAsk("", ("a hat", "a cup")).targets
        ('a hat', 'a cup')
    """

    source: str
    target: str | tuple[str, ...]
    styles: Styles | None = None
    images: Samples[Any] | None = None
    clips: Samples[Any] | None = None
    reference: Image | None = None
    masks: Sequence[NDArray[Any]] | None = None
    strength: float = 1.0
    threshold: float | None = None
    count: int = 1

    def __post_init__(self) -> None:
        given = [n for n in ("styles", "images", "clips") if getattr(self, n) is not None]
        if len(given) > 1:
            raise UsageError(f"An edit begins with one of styles, images and clips, got {' and '.join(given)}.")
        if self.strength < 0 or self.count < 1:
            raise UsageError(
                f"An edit needs strength >= 0 and count >= 1, got strength={self.strength:g} and count={self.count}."
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """The target texts."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def start(self) -> Start:
        """What the edit begins with."""
        if self.styles is not None:
            return "drawn"
        return "pictures" if self.images is not None else "clips" if self.clips is not None else "nothing"


@dataclass(frozen=True)
class Edited:
    """Edited pictures or clips, N of them.

    Args:
        before: N pictures (3, H, W) or clips (T, 3, H, W), float32 in [0, 1]: the start of each edit; of photos, their
            reconstruction by a generator where the editor has one. () where the edit begins with words alone. A tensor
            where all have one size.
        after: N of the same kind; sizes may differ from ``before``, and among each other.
        change: (N, S) what was added to the styles; None where the editor has no style space.
        facts: plain data about each of the N, such as how much of it was changed; () where there are none.
    """

    before: Tensor | tuple[Tensor, ...]
    after: Tensor | tuple[Tensor, ...]
    change: Tensor | None = None
    facts: tuple[Mapping[str, Any], ...] = ()


class FittedEditor(ABC):
    """What ``Editor.fit`` returns.

    It is a frozen dataclass of tensors, plain values, parts of the kit such as a generator, and the ``backbone``.
    """

    @abstractmethod
    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit each picture or clip of a request independently of the others.

        Raises:
            UsageError: the editor cannot answer the request, see ``Takes.check``.
            MissingPart: it has images, and the kit of the fit had no inverter.
            UnreadableItem: an image cannot be read.
        """


class Editor(Method):
    """Role of ``edit``: from parts, and perhaps evidence, to a fitted editor of pictures, clips or words.

    The parts that the card names are those the verb loads: StyleGenerator as "generator" (with "inverter" where there
    is one), TextDiffusion as "diffusion", FittedSegmenter as "segmenter".

    Attributes:
        takes: what it reads of a request.
    """

    verb = "edit"
    takes: ClassVar[Takes] = Takes()

    def check_words(self, source: str, targets: tuple[str, ...]) -> None:
        """Refuse words that the editor cannot use, before anything is loaded.

        Raises:
            UsageError: words are missing, too many, or of another form.
        """
        self.takes.check_words(source, targets, self.card.name)

    @abstractmethod
    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedEditor:
        """Fit on the evidence.

        Raises:
            MissingPart: the kit lacks a part.
            MissingHook: the backbone lacks a hook that the system needs.
            MissingEvidence: a needed field of the evidence is missing.
        """
