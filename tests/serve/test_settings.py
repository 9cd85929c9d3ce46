from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.serve.settings import Settings, is_loopback, read_aliases, read_keys

KEY = "0123456789abcdef"


def test_a_request_may_have_at_least_one_largest_picture() -> None:
    assert Settings(max_pixels=1000).pixel_budget == 32_000
    assert Settings(max_pixels=1000, max_request_pixels=1000).pixel_budget == 1000
    with pytest.raises(UsageError, match="max_request_megapixels must be at least max_megapixels"):
        Settings(max_pixels=1000, max_request_pixels=999)


def test_only_this_machine_is_answered_without_a_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert is_loopback(host)
        Settings(host=host)
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.org"):
        assert not is_loopback(host)
        with pytest.raises(UsageError, match="give a file of keys"):
            Settings(host=host)
        Settings(host=host, keys=(KEY,))
        Settings(host=host, insecure=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"capacity": 0},
        {"timeout": -1},
        {"longest_wait": -0.1},
        {"port": 70_000},
        {"keys": ("short",)},
        {"max_pixels": 0},
    ],
)
def test_bounds_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_keys_are_lines_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the team\n\n{KEY}\n  {KEY}2 \n")
    settings = Settings(keys=read_keys(tmp_path / "keys"))
    assert settings.admits(KEY)
    assert settings.admits(f"{KEY}2")
    assert not settings.admits("")
    assert not settings.admits(KEY[:-1])
    assert KEY not in repr(settings)
    (tmp_path / "none").write_text("# nothing\n")
    for name in ("none", "missing"):
        with pytest.raises(UsageError):
            read_keys(tmp_path / name)


def test_aliases_lead_to_served_models_only() -> None:
    assert read_aliases(["embed-v4.0=lite"], ["lite"]) == {"embed-v4.0": "lite"}
    for wrong in ("=lite", "a", "a=other"):
        with pytest.raises(UsageError, match="NAME=MODEL"):
            read_aliases([wrong], ["lite"])
