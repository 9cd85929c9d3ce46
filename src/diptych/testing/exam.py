"""One row of a system with small material: what every role shares, and the promises that hold for all of them."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from diptych.core import (
    Card,
    DiptychError,
    Evidence,
    Kit,
    Method,
    MissingEvidence,
    MissingHook,
    MissingPart,
    Run,
    Space,
)
from diptych.features import artefacts
from diptych.features.saved_classes import is_frozen
from diptych.testing.backbones import SmallBackbone, backbone_for, small_clip
from diptych.testing.card_promises import check_card, check_parameters
from diptych.testing.compare import close, contents, digest, global_dice, global_state, same
from diptych.testing.harm import Harm, harms
from diptych.testing.promise import ContractBroken, require

SEED = 5
"""Seed of the shared fits."""


@dataclass(frozen=True)
class Fitting:
    """A fit and its answer, and what they touched.

    Args:
        fitted: what ``fit`` returned.
        answer: to the test items.
        touched: names of the global state that differs afterwards.
        written: names of inputs that differ afterwards.
    """

    fitted: Any
    answer: Any
    touched: tuple[str, ...]
    written: tuple[str, ...]


class Exam(ABC):
    """A row of a system's card, small generated material for its role, and what is fitted on it, once.

    Args:
        system: the class.
        variant: row of the card; None: the first one, which is asked for every promise.
        settings: arguments in place of those of the row, such as a short training.
        parts: parts of the kit in place of the small ones, by name.
        device: of backbone and run.
    """

    role: ClassVar[type[Method]]
    saves: ClassVar[bool] = True  # whether something is fitted, which a folder can hold
    hookless: ClassVar[bool] = True  # whether a backbone without the hooks of the card must be refused in fit
    alone: ClassVar[tuple[float, float]] = (1e-4, 1e-5)  # how far an item alone may be from the same among others
    names_evidence: ClassVar[bool] = False  # whether the error of missing evidence has the name of its field
    clip: ClassVar[bool] = False  # whether the backbone is the small CLIP, which has every hook
    part_names: ClassVar[Mapping[str, str]] = {}  # interface of a part -> the name by which kits hold it

    def __init__(
        self,
        system: type[Method],
        variant: str | None = None,
        settings: Mapping[str, Any] | None = None,
        parts: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        self.system, self.device = system, device
        self.variant = next(iter(system.card.variants)) if variant is None else variant
        self.settings, self.parts = dict(settings or {}), dict(parts or {})

    @property
    def further(self) -> bool:
        """Whether another row of the card is asked for every promise."""
        return self.variant != next(iter(self.card.variants))

    @property
    def card(self) -> Card:
        """The card of the system."""
        return self.system.card

    def make(self) -> Any:
        """Return the system with the arguments of its row."""
        return self.system(**{**self.card.variants[self.variant], **self.settings})

    def run(self, seed: int = SEED) -> Run:
        """Return a run without worker processes."""
        return Run(seed=seed, device=self.device, workers=0)

    def placed(self, space: Any) -> Any:
        """Return a space whose weights are on the device."""
        if self.device != "cpu":
            space.module().to(self.device)
        return space

    @cached_property
    def backbone(self) -> Any:
        """A small random backbone with the hooks of the card and no others, where there is such a one."""
        return self.placed(small_clip() if self.clip else backbone_for(self.card.needs.hooks))

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return the parts of the kit beside the backbone."""
        return {}

    def kit(self, backbone: Any = None) -> Kit:
        """Return the kit, with the backbone as "main"."""
        space = self.backbone if backbone is None else backbone
        return Kit({"main": space, **self.small_parts(space), **self.parts})

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Everything that a fit may read."""
        return Evidence()

    @property
    def material(self) -> Any:
        """What must not be written into."""
        return self.evidence

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Any:
        """Return what the system fits."""
        return self.make().fit(kit, evidence, run)

    @abstractmethod
    def answer(self, fitted: Any, run: Run) -> Any:
        """Return the answer to the test items, as data that can be compared."""

    @abstractmethod
    def check_answer(self, fitting: Fitting) -> None:
        """Raise where an answer is not what the role says."""

    def apart(self, fitted: Any, run: Run) -> tuple[Any, Any] | None:
        """Return answers to items one by one, and the same out of the answer to all; None where items are no set."""
        return None

    def nothing(self, fitted: Any, run: Run) -> str:
        """Return what is wrong with the answer to no items; "" where it is empty."""
        return ""

    @cached_property
    def first(self) -> Fitting:
        """A fit with gradients on, of which most promises read the answer."""
        return self._fitting(graded=True, dice=1)

    @cached_property
    def second(self) -> Fitting:
        """The same with gradients off, and with other global generators."""
        return self._fitting(graded=False, dice=2)

    @cached_property
    def _differs_by(self) -> str:
        """What makes two fits of one seed differ: "" nothing, "draws" or "gradient mode"."""
        if same(self.first.answer, self.second.answer):
            return ""
        return "gradient mode" if same(self.first.answer, self._fitting(graded=True, dice=3).answer) else "draws"

    def _fitting(self, graded: bool, dice: int) -> Fitting:
        kit, evidence, run = self.kit(), self.evidence, self.run()
        spaces = {name: part for name, part in kit.parts.items() if isinstance(part, Space)}
        weights, read = {name: contents(part) for name, part in spaces.items()}, digest(self.material)
        with global_dice(dice), torch.set_grad_enabled(graded):
            before = global_state()
            fitted = self.fit(kit, evidence, run)
            answer = self.answer(fitted, run)
            after = global_state()
            torch.set_grad_enabled(graded)
        touched = tuple(name for name, value in before.items() if after[name] != value)
        written = [name for name, part in spaces.items() if not same(contents(part), weights[name])]
        return Fitting(fitted, answer, touched, (*written, *(["the data"] if digest(self.material) != read else [])))

    # --- promises, each a method whose docstring says it in one sentence ---

    def answers_as_its_role_says(self) -> None:
        """The answer has the sizes, types and ranges of its role."""
        self.check_answer(self.first)

    def same_seed_same_bits(self) -> None:
        """Two fits of one seed answer with the same bits, whatever the global generators hold."""
        require(
            self._differs_by != "draws",
            "two fits with one seed differ: draw from run.generator(...), run.integer(...) or within run.seeded(...)",
        )

    def another_seed_changes_nothing_where_the_card_says_so(self) -> None:
        """Where the card says that no seed decides anything, another seed answers with the same bits."""
        if self.card.seeded:
            return
        run = self.run(SEED + 1)
        answer = self.answer(self.fit(self.kit(), self.evidence, run), run)
        require(
            same(self.first.answer, answer),
            "another seed gives another answer: say in the card what it decides, as draws, since boards would else fit "
            "once for all seeds",
        )

    def gradient_mode_does_not_matter(self) -> None:
        """The answer is the same with gradients on and off around the call."""
        require(
            self._differs_by != "gradient mode",
            "the answer depends on whether gradients are on around the call: set torch.no_grad or torch.enable_grad "
            "inside",
        )

    def global_state_is_untouched(self) -> None:
        """Generators, gradient mode, threads and filters of warnings are as before."""
        # libraries add filters of warnings and draw numbers where they are first imported: a second look decides
        again = self._fitting(graded=True, dice=1).touched if self.first.touched else ()
        if touched := sorted({*again, *self.second.touched}):
            raise ContractBroken(f"the call changes {', '.join(touched)}: give it back as it was")

    def inputs_are_not_written(self) -> None:
        """The weights and flags of the spaces, and the evidence, are as before."""
        again = () if self.further else self.second.written  # of a further row one fit is enough
        if written := dict.fromkeys((*self.first.written, *again)):
            raise ContractBroken(f"the call writes into {', '.join(written)}: work on a copy")

    def asked_twice_it_answers_the_same(self) -> None:
        """What is fitted holds no state that an answer changes."""
        require(
            same(self.answer(self.first.fitted, self.run()), self.first.answer),
            "the second answer differs from the first: what is fitted must not change when it answers",
        )

    def an_item_alone_is_answered_as_among_others(self) -> None:
        """The answer to an item does not depend on the other items of the call."""
        answers = self.apart(self.first.fitted, self.run())
        require(
            answers is None or close(*answers, *self.alone),
            "an item alone gets another answer than among others: nothing may be computed over the items of a call",
        )

    def no_items_get_no_answers(self) -> None:
        """An empty set of items is answered by an empty answer."""
        fault = self.nothing(self.first.fitted, self.run())
        require(not fault, f"no items must get an empty answer, and {fault}")

    def what_is_fitted_can_be_saved(self) -> None:
        """What is fitted is a frozen dataclass that gives the same answer after saving and loading, and its folder
        says which system fitted it.
        """
        fitted, system = self.kept(self.first.fitted), self.make()
        require(
            is_frozen(type(fitted)), f"{type(fitted).__name__} is not a frozen dataclass: write @dataclass(frozen=True)"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "fitted"
            self.write(self.first.fitted, path)
            require(
                "diptych." not in (path / "fitted.json").read_text(encoding="utf-8"),
                "the saved folder names a module of diptych, which may move: hold tensors, plain values or frozen "
                "dataclasses of the system's file",
            )
            about = artefacts.stated(path)
            again = self.read(path)
        require(about.system == system, f"the folder says that {about.system} fitted it, and not {system}")
        require(
            same(self.answer(again, self.run()), self.first.answer), "it answers otherwise after saving and loading"
        )

    def a_folder_that_does_not_fit_is_refused(self) -> None:
        """A folder is refused where tensors are missing, renamed or of another shape, or the backbone is another."""
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "whole"
            self.write(self.first.fitted, whole)
            for number, (fault, harm) in enumerate(self.harms(whole).items()):
                path = Path(folder) / str(number)
                shutil.copytree(whole, path)
                harm(path)
                self.refuses(partial(self._read, path), DiptychError, f"a folder that fits: {fault}")

    def _read(self, path: Path) -> Any:
        """Return the answer of a folder."""
        return self.answer(self.read(path), self.run())

    def write(self, fitted: Any, path: Path) -> None:
        """Write what is fitted to a new folder."""
        artefacts.save(self.kept(fitted), path, self.make())

    def read(self, path: Path) -> Any:
        """Return the fitted object of a folder."""
        return self.reloaded(artefacts.load(path, self.kit()))

    def harms(self, path: Path) -> dict[str, Harm]:
        """Return what can go wrong with the files of a folder, by name."""
        return harms(path)

    def kept(self, fitted: Any) -> Any:
        """Return what is written of a fitted object: itself."""
        return fitted

    def reloaded(self, fitted: Any) -> Any:
        """Return the fitted object of what was read."""
        return fitted

    def a_missing_part_is_named(self) -> None:
        """A kit without a part that the card names is refused by an error that names it: the backbone where it names
        hooks of one.
        """
        whole = dict(self.kit().parts)
        for name in [n for n in whole if (n == "main" and self.card.needs.hooks) or n in self.needed()]:
            rest = Kit({n: part for n, part in whole.items() if n != name})
            call = partial(self.fitted_on, rest, self.evidence)
            unread = ' (a card whose system reads no backbone says "needs.hooks = []")' if name == "main" else ""
            error = self.refuses(call, MissingPart, f"the part {name!r}{unread}")
            require(repr(name) in str(error), f"the error of the missing part {name!r} does not name it: {error}")

    def needed(self) -> tuple[str, ...]:
        """Return the names of the parts beside the backbone that the card makes necessary."""
        return tuple(self.part_names[part] for part in self.card.needs.parts if part in self.part_names)

    def fitted_on(self, kit: Kit, evidence: Evidence[Any]) -> Any:
        """Return what is fitted, and let it answer where that is when a part is read."""
        return self.fit(kit, evidence, self.run())

    def missing_evidence_is_named(self) -> None:
        """Evidence without a field that the card names is refused by an error that names it."""
        for field in self.card.needs.evidence:
            less: Evidence[Any] = dataclasses.replace(self.evidence, **{field: None})
            call = partial(self.fitted_on, self.kit(), less)
            error = self.refuses(call, MissingEvidence, f"evidence.{field}")
            require(
                not self.names_evidence or field in str(error),
                f"the error of missing {field} does not name it, it says: {error}",
            )

    def a_missing_hook_is_named(self) -> None:
        """A backbone without the hooks of the card is refused by an error that names the backbone."""
        error = self.refuses(
            lambda: self.fitted_on(self.kit(self.placed(SmallBackbone())), self.evidence),
            MissingHook,
            f"a hook of {', '.join(self.card.needs.hooks)}",
        )
        require("small" in str(error), f"the error of a missing hook does not name the backbone, it says: {error}")

    def refuses(self, call: Callable[[], Any], kind: type[DiptychError], what: str) -> DiptychError:
        """Return the error of a call that lacks something.

        Raises:
            ContractBroken: it passes, or raises another error.
        """
        try:
            call()
        except kind as error:
            return error
        except Exception as error:
            raise ContractBroken(
                f"without {what} it must raise {kind.__name__}, and raises {type(error).__name__}: {error}"
            ) from error
        raise ContractBroken(f"without {what} it must raise {kind.__name__}, and it goes on")

    def the_card_is_complete(self) -> None:
        """The card says what is needed for lists, pages and boards."""
        check_card(self.system)

    def parameters_are_frozen_and_documented(self) -> None:
        """The class is a frozen dataclass; its docstring has the source and every parameter, each with a default."""
        check_parameters(self.system)

    def promises(self) -> dict[str, Callable[[], None]]:
        """Return the promises that this row is asked for, by name; of a further row, those that a row may break."""
        if self.further:
            kept = [self.what_is_fitted_can_be_saved] if self.saves else []
            return _named(self.answers_as_its_role_says, *self.row_promises(), *kept)
        listed = [
            self.the_card_is_complete, self.parameters_are_frozen_and_documented, self.answers_as_its_role_says,
            self.same_seed_same_bits, self.another_seed_changes_nothing_where_the_card_says_so,
            self.gradient_mode_does_not_matter, self.global_state_is_untouched, self.inputs_are_not_written,
            self.asked_twice_it_answers_the_same, self.an_item_alone_is_answered_as_among_others,
            self.no_items_get_no_answers,
        ]  # fmt: skip
        needs = self.card.needs
        if self.saves:
            listed += [self.what_is_fitted_can_be_saved, self.a_folder_that_does_not_fit_is_refused]
        if needs.hooks or self.needed():
            listed.append(self.a_missing_part_is_named)
        if needs.evidence:
            listed.append(self.missing_evidence_is_named)
        if self.hookless and set(needs.hooks) - {"image", "text"}:
            listed.append(self.a_missing_hook_is_named)
        return _named(*listed, *self.role_promises())

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of this role alone."""
        return []

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what a further row of the card is asked beside its answer."""
        return []

    def forget(self) -> None:
        """Drop what was fitted."""
        for name in ("first", "second", "_differs_by"):
            vars(self).pop(name, None)


def _named(*promises: Callable[[], None]) -> dict[str, Callable[[], None]]:
    return {promise.__name__: promise for promise in promises}
