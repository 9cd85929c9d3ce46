"""The memory of a command: freed buffers stay with the process."""

from __future__ import annotations

import os
import sys

_TRIM, _MMAPS = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h


def keep_buffers() -> bool:
    """Keep freed memory for the next batch instead of handing it to the system and fetching it again, zeroed page by
    page.

    Towers free and ask for the same large buffers with every batch, and glibc's malloc gives each of them back.
    Encoding 256 photos with ``lite`` in torch on two cores took 19.7 s, 14.9 of them in the system, and takes 10.3 s
    with 1.4 (in ONNX Runtime 10.2 and 8.9 s); the peak grows from 1.3 to 1.8 GB (1.60 to 1.65). Only for a command: a
    library does not set the memory of its caller's process.

    Returns:
        Whether it was done: not without glibc, nor where MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_MAX_ say what the user
        wants.
    """
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_"} & os.environ.keys():
        return False
    import ctypes

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(_TRIM, 2**31 - 1) and libc.mallopt(_MMAPS, 0))
