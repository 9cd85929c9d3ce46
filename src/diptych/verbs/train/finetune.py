"""``finetune``: move a copy of a model towards labelled or captioned photos, and see what it forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.tasks.defaults import DEFAULTS
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, method
from diptych.verbs.train.training import Training

if TYPE_CHECKING:
    from diptych.core import Objective, Recipe
    from diptych.verbs.names import TemplatesLike


@dataclass(frozen=True, kw_only=True)
class Finetune(Training):
    """Fine-tune a backbone on your data; every command then takes it as --backbone local:OUT/model."""

    out: ClassVar[str] = "tuned"

    data: Any = argument(
        "Class folders with train and test, or a table with labels or captions.",
        kinds.Kind(str),
        flag="DATA",
        positional=True,
    )
    method: str | Objective | Recipe = method(DEFAULTS["finetune"], "See diptych systems --verb finetune.")
    variant: str = argument("Variant of the method, such as m3 or lwf.", default="")
    templates: TemplatesLike = argument(
        "A file of prompts, or one prompt with {}; repeat for several (default: one prompt).", kinds.TEMPLATES, None
    )

    def prompts(self) -> Sequence[str]:
        """Return the prompts of labelled classes."""
        from diptych.data.words.templates import SINGLE
        from diptych.verbs.names import templates_of

        return templates_of(self.templates, SINGLE)
