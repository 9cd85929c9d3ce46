"""What class names become for a model: a head of unit vectors, remembered for the next request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from diptych.core import ClassNames
from diptych.data.words.templates import ENSEMBLE
from diptych.features.heads import text_head
from diptych.serve.inputs import check_text
from diptych.serve.model import ServedModel
from diptych.serve.refusals import Refusal
from diptych.serve.service import Service

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
MOST_NAMES = 1000
"""Class names of one request."""


class Recent(Generic[T]):
    """The results that were used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return a result; None where it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Hashable, value: T) -> T:
        """Keep a result, drop the one that was not used for longest, and return it."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return a result, made where it is not kept."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value


def class_names(labels: Sequence[str], templates: Sequence[str] | None) -> ClassNames:
    """Return the classes of a request.

    Raises:
        Refusal: too many.
        UsageError: no names, a name twice, or a template without exactly one "{}".
    """
    if len(labels) > MOST_NAMES:
        raise Refusal(400, f"A request has at most {MOST_NAMES} labels, not {len(labels)}: send fewer.")
    check_text(" ".join((*labels, *(templates or ()))))
    return ClassNames(tuple(name.strip() for name in labels), tuple(templates) if templates else ENSEMBLE)


class Heads:
    """Heads of class names, by model, names and templates.

    Args:
        service: whose queue embeds new names.
        most: heads that are kept.
    """

    def __init__(self, service: Service, most: int = 64) -> None:
        self._service = service
        self._kept: Recent[Tensor] = Recent(most)

    async def head(self, request: Any, model: ServedModel, classes: ClassNames) -> Tensor:
        """Return the (K, D) unit vectors of class names."""
        key = (model.name, classes.names, classes.templates, classes.words)
        head = self._kept.get(key)
        if head is None:
            head = await self._service.call(
                request, f"{model.name}/head", lambda: text_head(model.model, classes.prompts(), model.calls)
            )
            self._kept.put(key, head)
        return head
