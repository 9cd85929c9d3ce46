"""``diptych.toml``: everyday flags of a folder and all below it; ``diptych config`` prints what holds."""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.cli import options
from diptych.cli.console import say, show, show_json, show_table
from diptych.cli.offers import offers
from diptych.core import UsageError
from diptych.tasks.runs import PRECISIONS, EngineKind, cache_folder

FILE = "diptych.toml"
LARGEST = 65_536
"""Bytes of a file above which it is not one of ours."""
KEYS = ("backbone", "device", "precision", "engine", "batch", "workers", "cache")
"""What a file may set, each the flag of this name where it says how a model runs."""
_NAMED: Mapping[str, tuple[str, ...]] = {"precision": tuple(PRECISIONS), "engine": typing.get_args(EngineKind)}
_APPLIED = "diptych.config"


@dataclass(frozen=True)
class Config:
    """What a file sets; without one, nothing."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def read(folder: Path) -> Config:
    """Return what the nearest ``diptych.toml`` sets, of this folder or one above it.

    Only the keys are read; nothing of the file is executed. A file that belongs to another user is left out with a
    remark, since whoever may write into a folder above could choose the model and the cache.

    Raises:
        UsageError: the file is no TOML, or has an unknown key, or a value that its flag does not take.
    """
    path = next((p for base in (folder, *folder.parents) if os.path.isfile(p := base / FILE)), None)
    if path is None:
        return Config()
    try:
        if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
            say(f"{path} belongs to another user and is not read: copy it, or set its flags in the environment.")
            return Config()
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UsageError(f"{path} has more than {LARGEST:,} bytes: keep the keys {', '.join(KEYS)} alone.")
        table = tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): fix its permissions, or remove it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f'{path} is not TOML ({error}): write lines such as device = "cpu".') from None
    return Config(path, {key: _value(path, key, value) for key, value in table.items()})


def _value(path: Path, key: str, value: Any) -> Any:
    if key not in KEYS:
        raise UsageError(f"{path} has the unknown key {key!r}: it may have {', '.join(KEYS)}.")
    if key in ("batch", "workers"):
        if type(value) is not int or value < 1:
            raise UsageError(f"{path}: {key} must be a number of at least 1, got {value!r}.")
        return value
    if not isinstance(value, str) or not value:
        raise UsageError(f"{path}: {key} must be a text in quotes, got {value!r}.")
    if value not in _NAMED.get(key, (value,)):
        raise UsageError(f"{path}: {key} must be one of {', '.join(_NAMED[key])}, got {value!r}.")
    if key == "cache":
        return str(path.parent / Path(value).expanduser())
    if key == "backbone" and value.startswith("local:"):
        beside = path.parent / Path(value.removeprefix("local:").partition("?")[0]).expanduser()
        return f"local:{beside}{value[value.find('?') :] if '?' in value else ''}"
    return value


def here() -> Config:
    """Return what holds in the folder in which the command runs."""
    try:
        return read(Path.cwd())
    except FileNotFoundError:  # the folder has been removed
        return Config()


def apply(command: Any, context: Any) -> None:
    """Let the file set the defaults of a command's flags; flags that are typed and the environment win."""
    flags = {flag.name for flag in command.params if _shared(flag)}
    if not flags:
        return
    config = here()
    values = {key: value for key, value in config.values.items() if key in flags}
    if values:
        context.default_map = {**values, **(context.default_map or {})}
        context.meta[_APPLIED] = f"{config.path} sets {', '.join(values)}."


def _shared(flag: Any) -> bool:
    """Return whether a flag says how a model runs: others have the same name and mean another thing."""
    if flag.name not in KEYS or getattr(flag, "rich_help_panel", None) != "Model" or flag.multiple:
        return False
    return flag.name != "backbone" or flag.default is not None  # None: that of an index


def applied(context: Any) -> str:
    """Return the sentence that belongs below an error: which file set flags; "" where none did."""
    return str(context.meta.get(_APPLIED, ""))


@offers("json")
def config(*, shared: options.RunOptions) -> None:
    """Show which model, device, precision, engine, batch, workers and cache are in effect here, and what sets each."""
    config = here()
    rows = []
    for key in KEYS:
        variable = f"DIPTYCH_{key.upper()}"
        default = cache_folder() if key == "cache" else getattr(options.RunOptions, key)
        if os.environ.get(variable):
            rows.append((key, os.environ[variable], variable))
        elif key in config.values:
            rows.append((key, str(config.values[key]), str(config.path)))
        else:
            rows.append((key, str(default), "default"))
    if shared.json:
        show_json({"file": config.path and str(config.path), "flags": {k: {"value": v, "from": f} for k, v, f in rows}})
        return
    show_table(["flag", "value", "from"], [(f"--{key}", value, source) for key, value, source in rows])
    if config.path is None:
        show(f'No {FILE} in {os.getcwd()} or above it. One with the line device = "cpu" sets --device for all below.')
