"""A command keeps the buffers that it frees; the library and the user's own settings are left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from diptych.cli.memory import keep_buffers
done = sys.argv[1] == "keep" and keep_buffers()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**27  # 128 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(done, faults())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")


def measured(word: str, **more: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    said = subprocess.run(
        [sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True, env={**clean, **more}
    ).stdout
    return said.split()[0], int(said.split()[1])


@glibc
def test_a_freed_buffer_is_used_again_without_touching_new_pages() -> None:
    done, kept = measured("keep")
    _, fresh = measured("leave")
    assert done == "True"
    assert kept < 100 < fresh


@glibc
def test_what_the_user_set_stays() -> None:
    assert measured("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"


def test_the_library_leaves_the_memory_of_its_process_alone() -> None:
    script = "import sys, diptych.features.embed; assert 'diptych.cli.memory' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
