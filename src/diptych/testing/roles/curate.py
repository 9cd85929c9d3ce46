"""What a curator promises: a plan that can be written, and verdicts that depend on plan, seed and item alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from diptych.core import Curator, DiptychError, Evidence, Kit, Plan, Run, Verdict
from diptych.testing.compare import same
from diptych.testing.exam import Exam, Fitting
from diptych.testing.parts import Echo
from diptych.testing.promise import faults, require
from diptych.testing.samples import PHOTOS, Pairs


@dataclass(frozen=True)
class Slide:
    """What tiles are cut from.

    Args:
        path: its name.
    """

    path: str = "slide"

    def findings(self) -> tuple[str, ...]:
        """Return what is known about it."""
        return ("something red",)


@dataclass(frozen=True)
class Tile:
    """A picture without a text.

    Args:
        number: its number.
        slide: what it was cut from.
    """

    number: int
    slide: Slide = field(default_factory=Slide)

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.slide.path}@{self.number}"

    @property
    def cut(self) -> dict[str, int]:
        """Where it was cut."""
        return {"x": self.number, "y": 0}

    def image(self) -> Image.Image:
        """Return the picture."""
        return PHOTOS[self.number]


class Tiles(Pairs):
    """A stream of 24 tiles."""

    item = Tile


class CuratorExam(Exam):
    """A stream of 24 pictures with texts, or without where it creates them, and a small CLIP."""

    role = Curator
    hookless = False
    clip = True
    part_names: ClassVar[Mapping[str, str]] = {"Writer": "writer"}

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a writer."""
        return {"writer": Echo()}

    @property
    def stream(self) -> Any:
        """The stream."""
        return Tiles() if self.system.creates else Pairs()  # type: ignore[attr-defined]

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Plan:
        """Return the plan."""
        plan: Plan = self.make().plan(kit, self.stream, run)
        return plan

    def fitted_on(self, kit: Kit, evidence: Evidence[Any]) -> Any:
        """Plan and apply with a kit."""
        plan = self.fit(kit, evidence, self.run())
        return list(self.make().apply(kit, plan, self.stream, self.run()))

    def answer(self, fitted: Plan, run: Run) -> list[Verdict]:
        """Return the verdicts."""
        return list(self.make().apply(self.kit(), fitted, self.stream, run))

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where there is not one verdict per item, in order."""
        verdicts: list[Verdict] = fitting.answer
        faults(
            (all(isinstance(v, Verdict) for v in verdicts), "what apply yields are no verdicts"),
            ([v.position for v in verdicts] == list(range(len(PHOTOS))), "there is not one verdict per item, in order"),
            (isinstance(fitting.fitted.report(), dict), "the report of the plan is no plain data"),
        )

    def verdicts_do_not_depend_on_the_start(self) -> None:
        """A stream that is resumed at an item gets the verdicts of the whole one."""
        rest = list(self.make().apply(self.kit(), self.first.fitted, self.stream.seek(7), self.run()))
        require(same(rest, self.first.answer[7:]), "a stream that begins at item 7 gets other verdicts")

    def what_is_fitted_can_be_saved(self) -> None:
        """Verdicts are the same with a plan that was written and read."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plan"
            self.write(self.first.fitted, path)
            plan = self.read(path)
            require(same(self.answer(plan, self.run()), self.first.answer), "a plan that was read gives other verdicts")

    def a_folder_that_does_not_fit_is_refused(self) -> None:
        """A plan is refused where its file is missing, empty or cut in half."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plan"
            self.write(self.first.fitted, path)
            whole = path.read_bytes()
            faults_of = {"it is missing": None, "it is empty": b"", "half of it is left": whole[: len(whole) // 2]}
            for fault, content in faults_of.items():
                path.unlink(missing_ok=True)
                if content is not None:
                    path.write_bytes(content)
                self.refuses(partial(self.read, path), DiptychError, f"a plan that fits: {fault}")

    def write(self, fitted: Plan, path: Path) -> None:
        """Write a plan."""
        fitted.write(path)

    def read(self, path: Path) -> Plan:
        """Return the plan of a file."""
        plan: Plan = self.make().read_plan(path)
        return plan

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of curators."""
        return [self.verdicts_do_not_depend_on_the_start]

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked."""
        return [self.same_seed_same_bits, self.global_state_is_untouched, self.inputs_are_not_written]
