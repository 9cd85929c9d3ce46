"""Run as a process of its own by ``backbones.unpickling``: it reads one torch file with ``weights_only`` and leaves the
tensors as safetensors and all else as JSON. It imports torch and safetensors, and nothing of diptych.

    python -I unpickling_child.py IMPORT_PATHS FILE FOLDER BYTES

Barriers, from the strongest to the weakest: torch's restricted unpickler builds tensors and plain values alone; where
the system allows it, a network namespace without any network; a limit on the address space; and an audit hook, which
refuses sockets, processes and writes outside of the folder to Python code, and to Python code alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TENSORS, REST = "tensors.safetensors", "rest.json"
"""Files that the process leaves."""
MORE, MEMORY, DAMAGED = 3, 4, 5
"""Exit codes: the file holds more than tensors and plain values, claims more memory than it may, cannot be read."""
_REFUSED = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER


def leave_network() -> bool:
    """Move into a network namespace of its own, which has no network, and return whether the system allowed it."""
    if sys.platform != "linux":
        return False
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        return any(libc.unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_NETWORK | _NEW_USER))
    return False


def bound_memory(allowance: int) -> bool:
    """Limit the address space to what is in use and so many bytes more; return whether the system allowed it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + allowance
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        return True
    return False


def guard(folder: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that refuses sockets, processes, and files that are written outside of a folder."""
    inside = str(folder) + os.sep

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"{event} is refused where a weight file is read")
        if event == "open" and isinstance(given[2], int) and given[2] & _WRITES:
            path = given[0]
            if not isinstance(path, (str, bytes)) or not os.path.abspath(os.fsdecode(path)).startswith(inside):
                raise PermissionError(f"{path!r} is not written where a weight file is read")

    return hook


def packed(value: Any, tensors: dict[str, Any]) -> Any:
    """Return JSON for a value, each tensor by the number under which it is put into ``tensors``; what is neither a
    tensor nor a plain value becomes the name of its type.
    """
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized or value.dtype == torch.complex128:
            return {"other": f"{value.layout} tensor of {value.dtype}"}
        name = str(len(tensors))
        tensors[name] = value.detach().resolve_conj().resolve_neg()
        return {"tensor": name}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return {"dict": [[packed(k, tensors), packed(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [packed(v, tensors) for v in value]}
    return {"other": type(value).__name__}


def separate(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors, each dense and in memory of its own, as safetensors needs them."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        start = tensor.untyped_storage().data_ptr()
        whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
        out[name] = tensor if whole and start not in seen else tensor.contiguous().clone()
        seen.add(start)
    return out


def is_mappable(source: Path) -> bool:
    """Return whether tensors lie in a file as they are: not in those before torch 1.6, nor in compressed ones."""
    import zipfile

    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def read(source: Path, folder: Path) -> int:
    """Read a file, write what it holds into a folder, and return the exit code: 0, ``MORE``, ``MEMORY`` or ``DAMAGED``.
    It sets up no barrier of its own.
    """
    import pickle
    import warnings

    import torch
    from safetensors.torch import save_file

    try:
        with warnings.catch_warnings():  # torch warns of old pickle protocols, which it then reads or refuses
            warnings.simplefilter("ignore")
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=is_mappable(source))
        tensors: dict[str, Any] = {}
        rest = json.dumps(packed(content, tensors))
        save_file(separate(tensors), folder / TENSORS)
        (folder / REST).write_text(rest, encoding="utf-8")
    except pickle.UnpicklingError:
        return MORE
    except MemoryError:
        return MEMORY
    except Exception as error:  # a crafted file may raise whatever it likes
        words_of_memory = ("allocate memory", "not enough memory", "bad_alloc", "out of memory")
        return MEMORY if any(word in str(error).lower() for word in words_of_memory) else DAMAGED
    return 0


def main(words: list[str]) -> int:
    """Read a file behind the barriers, write what it holds, and return the exit code."""
    paths, source, folder, allowance = words[0], Path(words[1]), Path(words[2]), int(words[3])
    sys.path[:] = json.loads(paths)
    leave_network()  # before torch, whose threads the system call refuses
    import torch  # noqa: F401  # the memory is bounded to what importing them takes, and so much more
    from safetensors.torch import save_file  # noqa: F401

    bound_memory(allowance)
    sys.addaudithook(guard(folder))
    return read(source, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
