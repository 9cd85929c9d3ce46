"""Builds the index of all cards into the wheel: reading one file is quicker than reading each card.

An editable installation has no index and reads the cards. Nothing but the standard library and lazy-loader, through
which the package loads its names, is imported here: wheels are built where diptych's dependencies are not installed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Index(BuildHookInterface):  # type: ignore[type-arg]
    """Adds ``diptych/catalog.json`` to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the index into a temporary folder, from which the wheel takes it."""
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "src"))
        sys.dont_write_bytecode = True
        from diptych import catalog

        self._folder = tempfile.TemporaryDirectory()
        index = Path(self._folder.name) / catalog.INDEX.name
        index.write_text(json.dumps(catalog.build(), ensure_ascii=False), encoding="utf-8")
        build_data["force_include"][str(index)] = f"diptych/{index.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the temporary folder."""
        if version != "editable":
            self._folder.cleanup()
