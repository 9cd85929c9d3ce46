"""Settings that are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from diptych.core import UsageError


def refused(settings: Callable[..., object], *wrong: dict[str, Any]) -> None:
    """Assert that each of some settings is refused, by an error that begins with the first name and shows its value."""
    for options in wrong:
        name, value = next(iter(options.items()))
        with pytest.raises(UsageError, match=rf"^{name} must be .+, got {re.escape(repr(value))}: .+\.$"):
            settings(**options)
