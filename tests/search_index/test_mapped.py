from __future__ import annotations

from pathlib import Path

import pytest

from diptych.search_index.mapped import MOST, Mapped


def test_a_file_is_opened_again_where_it_or_its_part_is_another(tmp_path: Path) -> None:
    mapped: Mapped[bytes] = Mapped()
    path, read = tmp_path / "a", list[int]()

    def opened(part: int) -> bytes:
        return mapped.opened(path, part, lambda: read.append(1) or path.read_bytes())  # type: ignore[func-returns-value]

    path.write_bytes(b"one")
    assert opened(1) == opened(1) == b"one"
    assert len(read) == 1
    opened(2)
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").replace(path)
    assert opened(2) == b"two"
    assert len(read) == 3
    path.unlink()
    with pytest.raises(FileNotFoundError):
        opened(2)


def test_only_the_files_that_were_used_last_stay_open(tmp_path: Path) -> None:
    mapped: Mapped[str] = Mapped()
    for i in range(MOST + 3):
        (tmp_path / str(i)).touch()
        mapped.opened(tmp_path / str(i), None, lambda i=i: str(i))
    assert len(mapped._files) == MOST
    for i in range(MOST + 3):
        (tmp_path / str(i)).unlink()
    (tmp_path / "last").touch()
    mapped.opened(tmp_path / "last", None, str)
    assert len(mapped._files) == 1
