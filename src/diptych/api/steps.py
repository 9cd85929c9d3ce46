"""A verb of several steps in Python: the function of its main step, which has those of all steps as attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import update_wrapper
from types import MethodType
from typing import Any

from diptych.core.guesses import guesses
from diptych.core.wording import lacks


class Steps:
    """A function with further ones as attributes. Unlike a plain function it answers a name that it lacks.

    Attributes:
        steps: name -> function of each step.

    Args:
        main: the function of the main step, whose signature and docstring this has.
        steps: name -> function of each step, ``main`` among them.
    """

    def __init__(self, main: Callable[..., Any], steps: Mapping[str, Callable[..., Any]]) -> None:
        update_wrapper(self, main)
        self._main = main
        self.steps = {name: self if step is main else step for name, step in steps.items()}
        self.run = self
        vars(self).update(self.steps)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the main step.

        Raises:
            TypeError: the first argument is the name of a step, and no path.
        """
        word = args[0].replace("-", "_") if args and isinstance(args[0], str) else ""
        if word in self.steps and not os.path.exists(args[0]):
            verb = vars(self)["__qualname__"]
            raise TypeError(f"diptych.{verb} begins with its data: write diptych.{verb}.{word}(...) for that step.")
        return self._main(*args, **kwargs)

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        """Bind as a function does; ``help`` takes what binds for one, and shows its signature."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str:
        return vars(self)["__qualname__"]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<function diptych.{vars(self)['__qualname__']}>"

    def __getattr__(self, name: str) -> Any:
        verb, steps = vars(self).get("__qualname__", ""), vars(self).get("steps", {})
        instead = {n: f"diptych.{verb}{use if use[0] == '(' else f'.{use}'}" for n, use in guesses(verb).items()}
        raise lacks(self, name, instead, called=f"diptych.{verb}", names=steps)
