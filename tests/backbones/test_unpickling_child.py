"""Barriers of the process that reads torch files, and the form in which it leaves what they hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones import unpickling_child as child


def test_values_and_tensors_stand_apart() -> None:
    tensors: dict[str, Any] = {}
    weight = torch.nn.Parameter(torch.ones(2))
    value = OrderedDict(a=weight, b=[1, 2.5, "x", None, True], c=(torch.eye(2).to_sparse(), object))
    rest = child.packed(value, tensors)
    assert json.loads(json.dumps(rest)) == {
        "dict": [
            ["a", {"tensor": "0"}],
            ["b", {"list": [1, 2.5, "x", None, True]}],
            ["c", {"tuple": [{"other": "torch.sparse_coo tensor of torch.float32"}, {"other": "type"}]}],
        ]
    }
    assert not tensors["0"].requires_grad
    assert child.packed(torch.zeros(1, dtype=torch.complex128), {}) == {
        "other": "torch.strided tensor of torch.complex128"
    }


def test_tensors_share_no_memory_afterwards() -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    given = {"0": rows, "1": rows, "2": rows[1], "3": rows.T, "4": torch.zeros(1).expand(5)}
    out = child.separate(given)
    assert out["0"] is rows
    assert len({t.untyped_storage().data_ptr() for t in out.values()}) == len(out)
    assert all(torch.equal(out[name], given[name]) and out[name].is_contiguous() for name in given)


def test_the_hook_refuses_network_processes_and_writes_elsewhere(tmp_path: Path) -> None:
    hook = child.guard(tmp_path)
    for event in ("socket.connect", "socket.__new__", "subprocess.Popen", "os.system", "os.exec", "os.fork"):
        with pytest.raises(PermissionError, match="is refused where a weight file is read"):
            hook(event, ())
    hook("open", (str(tmp_path / "rest.json"), "w", os.O_WRONLY | os.O_CREAT))
    hook("open", ("/etc/hostname", "r", os.O_RDONLY))
    hook("import", ("json",))
    for path in (tmp_path.parent / "else", f"{tmp_path}-more", str(tmp_path / ".." / "up"), 3):
        with pytest.raises(PermissionError, match="is not written"):
            hook("open", (str(path) if isinstance(path, Path) else path, "w", os.O_WRONLY | os.O_CREAT))


SCRIPT = """
import runpy, sys
from pathlib import Path
child = runpy.run_path({file!r})
assert child["leave_network"]() in (True, False)
limited = child["bound_memory"](100 * 2**20)
sys.addaudithook(child["guard"](Path({folder!r})))
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except PermissionError as error:
    assert "socket" in str(error)
else:
    raise SystemExit("a socket was opened")
try:
    bytearray(2**30)
except MemoryError:
    raise SystemExit(0)
raise SystemExit(0 if not limited else "a gigabyte was given")
"""


def test_a_process_behind_the_barriers_has_neither_network_nor_memory(tmp_path: Path) -> None:
    code = SCRIPT.format(file=child.__file__, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_compressed_archives_are_not_mapped(tmp_path: Path) -> None:
    stored, packed, old = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt"
    torch.save({"a": torch.ones(3)}, stored)
    torch.save({"a": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(stored) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))
    assert [child.is_mappable(path) for path in (stored, packed, old)] == [True, False, False]
