"""What ``diptych.extend`` returns: a fitted space in the place of a model, which names samples of its modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.api.model import Model
from diptych.tasks.space_classifier import NamingSpace, SpaceClassifier

if TYPE_CHECKING:
    from diptych.core import Run, UnreadableItem


class FittedSpace(Model):
    """A space that an extender fitted: a model whose photos are clips, point clouds or other samples.

    ``diptych.classify(samples, model=space)`` names samples by the classes that were learnt, or by others, and
    ``diptych.index(samples, model=space)`` takes them in once the space is saved. ``encode_image`` takes the samples.

    Args:
        loaded: the space with its classes.
        run: device, precision and cache of what it encodes.
        data: what was measured, as ``diptych extend --json`` prints it.
        lines: the same in words.
        failed: samples that could not be read.
        remarks: what a user should know, one sentence each.
    """

    def __init__(
        self, loaded: NamingSpace, run: Run, data: Mapping[str, Any], lines: tuple[str, ...] = (),
        failed: tuple[UnreadableItem, ...] = (), remarks: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(loaded, replace(run, engine=None))  # clips and others are embedded by torch alone
        self.classifier: SpaceClassifier = loaded.classifier
        self.folder, self.data = loaded.folder, dict(data)
        self.failed, self.remarks, self._lines = failed, remarks, lines

    def __repr__(self) -> str:
        kind, classes = self.classifier.modality, self.classes
        shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        where = "" if self.folder is None else f", in {self.folder}"
        head = f"FittedSpace({self.classifier.method} of {kind.title}, {len(classes)} classes: {shown}{where})"
        skipped = [f"{len(self.failed)} skipped: {self.failed[0]}"] if self.failed else []
        return "\n".join([head, *self._lines, *skipped, *self.remarks])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes that were learnt."""
        return self.classifier.classes.names

    @property
    def right(self) -> dict[str, int]:
        """System -> how many of the ``tested`` held samples it names right: this one, and what it is compared with."""
        return dict(self.data["right"])

    @property
    def tested(self) -> int:
        """Number of held samples that were measured."""
        return int(self.data["tested"])

    def as_dict(self) -> dict[str, Any]:
        """Return what was measured as plain data, as the command line prints with --json."""
        return dict(self.data)

    def save(self, folder: str | Path) -> None:
        """Write the space with its classes to a new folder, as ``diptych extend`` does.

        ``diptych.load("space:FOLDER")`` and ``classify --model FOLDER`` read it.

        Raises:
            UsageError: the folder holds something.
        """
        from diptych.tasks.extend import keep_space

        keep_space(self.classifier, Path(folder))
        self.folder = Path(folder)
        self.loaded = NamingSpace(self.classifier, self.folder)
