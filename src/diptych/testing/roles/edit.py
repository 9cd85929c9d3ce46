"""What an editor promises: pictures in [0, 1], each edited independently of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.core import Column, EditAsk, Edited, Editor, Evidence, FittedEditor, Run, Subset, Table, UsageError
from diptych.nn.dense.label_maps import Windows
from diptych.testing.compare import same
from diptych.testing.exam import Exam, Fitting
from diptych.testing.parts import GENERATOR, random_diffusion, styles
from diptych.testing.pictures import Pictures, picture
from diptych.testing.promise import require

WORDS = ("a red circle", "a blue circle")
CAPTIONS = ("a red circle", "a blue star", "a dog", "a cat", "a cup", "a red cup", "a blue cat", "a star")
COUNT = 3


def left_half(image: Image.Image) -> NDArray[np.bool_]:
    """Return the (H, W) mask of the left half of a picture."""
    mask = np.zeros((image.height, image.width), dtype=bool)
    mask[:, : image.width // 2] = True
    return mask


@dataclass(frozen=True)
class TwoFrames(Pictures):
    """Clips of two frames."""

    def __getitem__(self, index: int) -> Any:
        return tuple(picture(index, index + k) for k in range(2))


class EditorExam(Exam):
    """Three things of the kind that the editor begins with, a small CLIP, a generator of factors and a denoiser."""

    role = Editor
    hookless = False
    clip = True
    alone = (1e-3, 1e-3)
    part_names: ClassVar[Mapping[str, str]] = {
        "StyleGenerator": "generator", "TextDiffusion": "diffusion", "Segmenter": "segmenter", "MapInverter": "maps",
    }  # fmt: skip

    @property
    def takes(self) -> Any:
        """What the editor reads of a request."""
        return self.system.takes  # type: ignore[attr-defined]

    @cached_property
    def photos(self) -> Pictures:
        """Three pictures."""
        return Pictures(tuple(picture(k, k) for k in range(COUNT)))

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a generator, a denoiser and a segmenter."""
        from diptych.methods.segment.maskclip import MaskCLIP

        segmenter = MaskCLIP(windows=Windows(32, 32, 32))
        return {"generator": GENERATOR, "diffusion": random_diffusion(backbone), "segmenter": segmenter}

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Captioned pictures, where the card asks for them."""
        if "train" not in self.card.needs.evidence:
            return Evidence()
        captions = Column("captions", tuple((text,) for text in CAPTIONS))
        pictures: tuple[Image.Image, ...] = tuple(picture(k, k) for k in range(len(CAPTIONS)))
        return Evidence(train=Table(Pictures(pictures), {"captions": captions}))

    def ask(self, target: str = WORDS[1], **more: Any) -> EditAsk:
        """Return a request that the editor can answer; without a source, the words name an object."""
        starts: dict[str, dict[str, Any]] = {
            "drawn": {"styles": styles(COUNT)},
            "pictures": {"images": self.photos},
            "clips": {"clips": TwoFrames(self.photos.images)},
            "nothing": {"count": COUNT},
        }
        start = starts[self.takes.start[0]]
        named = not self.takes.source and "Segmenter" in self.card.needs.parts
        words = f"circle: {target}" if named else target
        needed: dict[str, Any] = {"reference": picture(0, 0)} if self.takes.reference == "must" else {}
        if named and "images" in start:  # a segmenter with random weights may take a whole picture for the object
            needed["masks"] = [left_half(image) for image in self.photos.images]
        return EditAsk(WORDS[0], words, **{**start, **needed, **more})

    def answer(self, fitted: FittedEditor, run: Run) -> Edited:
        """Return three edits."""
        return fitted.edit(self.ask(), run)

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where pictures are not (3, H, W) in [0, 1] on the CPU."""
        edited: Edited = fitting.answer
        require(len(edited.after) == COUNT, f"{COUNT} things to edit get {len(edited.after)} results")
        for pictures in (*edited.before, *edited.after):
            require(pictures.shape[-3] == 3, f"a picture is {tuple(pictures.shape)}, not (3, H, W)")
            require(not pictures.requires_grad, "pictures take gradients: compute them within torch.no_grad()")
            require(pictures.device.type == "cpu", f"pictures are on {pictures.device}, not on the CPU")
            require(0 <= float(pictures.min()) <= float(pictures.max()) <= 1, "pictures leave [0, 1]")
        if edited.change is not None:
            sizes = (COUNT, sum(self.kit().parts["generator"].channels))
            require(tuple(edited.change.shape) == sizes, f"the change of styles is not {sizes}")

    def _part(self, index: slice) -> EditAsk | None:
        """Return the request for some of the three; None where it begins with clips or with words alone."""
        whole = self.ask()
        if whole.styles is not None:
            return replace(whole, styles=whole.styles.take(index))
        if whole.images is not None:
            masks = None if whole.masks is None else whole.masks[index]
            return replace(whole, images=Subset(whole.images, tuple(range(COUNT)[index])), masks=masks)
        return None

    def apart(self, fitted: FittedEditor, run: Run) -> tuple[Any, Any] | None:
        """Return edits of single pictures, and those of all."""
        asks = [self._part(slice(i, i + 1)) for i in range(COUNT)]
        alone = [fitted.edit(ask, run).after[0] for ask in asks if ask is not None]
        return (alone, list(self.first.answer.after)) if alone else None

    def nothing(self, fitted: FittedEditor, run: Run) -> str:
        """Return what is wrong with the edits of no pictures."""
        ask = self._part(slice(0, 0))
        if ask is None:
            return ""
        edited = fitted.edit(ask, run)
        count = len(edited.before) + len(edited.after)
        return f"{count} pictures come back" if count else ""

    def the_same_words_change_nothing(self) -> None:
        """Where source and target are the same words, pictures come back as they begin."""
        edited = self.first.fitted.edit(self.ask(target=WORDS[0]), self.run())
        require(
            same(list(edited.before), list(edited.after)), "source and target are the same words, and pictures change"
        )

    def strength_0_changes_nothing(self) -> None:
        """Pictures of strength 0 come back as they begin."""
        edited = self.first.fitted.edit(self.ask(strength=0.0), self.run())
        require(same(list(edited.before), list(edited.after)), "pictures change at strength 0")

    def requests_that_it_cannot_answer_are_refused(self) -> None:
        """A reference that is not read, and a target without words, are refused by an error."""
        fitted, run = self.first.fitted, self.run()
        if self.takes.reference == "no":
            request = self.ask(reference=picture(0, 0))
            self.refuses(lambda: fitted.edit(request, run), UsageError, "a use for the reference picture")
        self.refuses(lambda: fitted.edit(replace(self.ask(), target=""), run), UsageError, "words of a target")

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of editors."""
        promises = [self.requests_that_it_cannot_answer_are_refused]
        promises += [self.the_same_words_change_nothing] if self.takes.source else []
        return promises + ([self.strength_0_changes_nothing] if self.takes.strength else [])
