"""Run notebooks in this process: cells in order, in one folder, with what they print and show.

It is what nbclient does with a kernel, for cells of plain Python: no magics, no widgets.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
from pathlib import Path
from typing import Any

from tests.support.tutorials import at_home


def executed(notebook: dict[str, Any], folder: Path, cache: Path) -> dict[str, Any]:
    """Return a notebook (format 4) with the outputs of its code cells.

    Args:
        notebook: as JSON holds it.
        folder: where it runs; empty.
        cache: folder of embeddings; notebooks may share it.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, number = [], 0
    with at_home(folder, cache):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                number += 1
                outputs = _outputs("".join(cell["source"]), names, number, folder)
                cells.append({**cell, "execution_count": number, "outputs": outputs})
            else:
                cells.append(cell)
    return {**notebook, "cells": cells}


def said(notebook: dict[str, Any]) -> list[str]:
    """Return the text of each output, without pictures."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("text") or output["data"].get("text/plain", [])
            found.append("".join(text))
    return found


def _outputs(code: str, names: dict[str, Any], number: int, folder: Path) -> list[dict[str, Any]]:
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out, value = io.StringIO(), None
    with contextlib.redirect_stdout(out):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    printed = out.getvalue().replace(f"{folder}/", "")
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if value is not None:
        shown = _shown(value, folder)
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown})
    return outputs


def _shown(value: Any, folder: Path) -> dict[str, Any]:
    from PIL import Image

    if isinstance(value, Image.Image):
        held = io.BytesIO()
        value.convert("RGB").save(held, "JPEG", quality=80)
        return {"image/jpeg": base64.b64encode(held.getvalue()).decode(), "text/plain": [f"<picture, {value.size}>"]}
    data: dict[str, Any] = {"text/plain": repr(value).replace(f"{folder}/", "").splitlines(keepends=True)}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().replace(f"{folder}/", "").splitlines(keepends=True)
    return data
