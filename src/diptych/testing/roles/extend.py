"""What an extender promises: a space whose encoders take the new samples, and which other systems use as any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch

from diptych.core import Backbone, ClassNames, Encoder, Evidence, Extender, Kit, Run, Samples, Space, Subset
from diptych.features.embed import embed
from diptych.features.spaces import StoredSpace
from diptych.testing.backbones import VisualBackbone
from diptych.testing.exam import Exam, Fitting
from diptych.testing.pictures import NAMES
from diptych.testing.promise import faults, require
from diptych.testing.samples import clip_task, cloud_task, star_task


class ExtenderExam(Exam):
    """Clips, point clouds or stars, as ``samples`` of the class says, and a small backbone with both towers."""

    role = Extender
    hookless = False
    alone = (1e-5, 1e-5)
    names_evidence = True

    @cached_property
    def task(self) -> tuple[Evidence[Any], Mapping[str, Samples[Any]]]:
        """What to fit on, and samples of each modality."""
        if self.system.samples == "stars":  # type: ignore[attr-defined]
            return star_task()
        evidence, test = {"clips": clip_task, "clouds": cloud_task}[self.system.samples]()  # type: ignore[attr-defined]
        return evidence, {"image": test.items}

    @cached_property
    def backbone(self) -> Any:
        """A small backbone with both towers."""
        return self.placed(VisualBackbone())

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Samples, captions and labels."""
        return self.task[0]

    def kept(self, fitted: Space) -> StoredSpace:
        """Return the space as the content of a folder."""
        return StoredSpace(fitted)

    def reloaded(self, fitted: StoredSpace) -> Space:
        """Return the space of a folder."""
        return fitted.space

    def answer(self, fitted: Space, run: Run) -> dict[str, Any]:
        """Return the vectors of each modality, and the fingerprint of the space."""
        vectors = {m: embed(fitted.encoders[m], items, run) for m, items in self.task[1].items()}
        return {**vectors, "fingerprint": fitted.fingerprint}

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where samples have no finite vectors, or the space is in training mode."""
        space: Space = fitting.fitted
        for modality, items in self.task[1].items():
            encoder, vectors = space.encoders[modality], fitting.answer[modality]
            sizes = (len(items), encoder.dim)
            faults(
                (isinstance(encoder, Encoder), f"the encoder of {modality} is a {type(encoder).__name__}"),
                (tuple(vectors.shape) == sizes, f"vectors of {modality} are {tuple(vectors.shape)}, not {sizes}"),
                (bool(torch.isfinite(vectors).all()), f"vectors of {modality} are not finite"),
            )
        require(not space.module().training, "the space is in training mode: call module().eval()")

    def apart(self, fitted: Space, run: Run) -> tuple[Any, Any]:
        """Return the vectors of the second sample alone, and among the others."""
        alone = {m: embed(fitted.encoders[m], Subset(items, (1,)), run)[0] for m, items in self.task[1].items()}
        return alone, {m: self.first.answer[m][1] for m in alone}

    def another_seed_gives_another_fingerprint(self) -> None:
        """Spaces of other weights have other names in caches; those of the same weights have the same."""
        if self.card.trains != "nothing":
            other = self.fit(self.kit(), self.evidence, self.run(6))
            require(other.fingerprint != self.first.fitted.fingerprint, "spaces of two seeds have one fingerprint")

    def classifiers_take_the_samples(self) -> None:
        """Zero-shot classification runs on the extended space as on any backbone."""
        from diptych.methods.classify.zero_shot import ZeroShot

        space, items, run = self.first.fitted, self.task[1]["image"], self.run(0)
        require(isinstance(space, Backbone), "the space is no Backbone, so that no classifier takes the samples")
        scores = ZeroShot().fit(Kit({"main": space}), ClassNames(NAMES[:3]), Evidence(), run).scores(items, run)
        require(tuple(scores.values.shape) == (len(items), 3), f"zero-shot scores are {tuple(scores.values.shape)}")
        require(not scores.values.requires_grad, "zero-shot scores take gradients: an encoder keeps the caller's mode")

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of extenders."""
        promises = [self.another_seed_gives_another_fingerprint]
        return [*promises, self.classifiers_take_the_samples] if self.card.needs.hooks else promises

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked: it may train something else."""
        return [self.same_seed_same_bits, self.inputs_are_not_written, *self.role_promises()]
