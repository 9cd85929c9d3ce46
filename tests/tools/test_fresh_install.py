from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tools.fresh_install import absent, main, strangers, wrong_engine


def test_a_wheel_holds_the_package_alone() -> None:
    good = ["diptych/__init__.py", "diptych/assets/photos/cat.jpg", "diptych-0.1.0.dist-info/RECORD"]
    assert strangers(good) == []
    bad = [
        "recipes/lite.py",
        "proofs/prove.py",
        "tests/conftest.py",
        "diptych/tests/test_x.py",
        "diptych/__pycache__/x.pyc",
    ]
    assert strangers([*good, *bad]) == bad


def test_a_wheel_with_recipes_is_refused_before_it_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "diptych-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("recipes/lite.py", "")
    assert main([str(wheel)]) == 1
    assert "holds 1 files beside the package, such as recipes/lite.py" in capsys.readouterr().err


def test_a_wheel_holds_the_index_and_the_card_of_each_method() -> None:
    files = ["diptych/methods/__init__.py", "diptych/methods/classify/__init__.py", "diptych/methods/classify/gda.py"]
    assert absent(files) == ["diptych/catalog.json", "diptych/methods/classify/gda.toml"]
    assert absent([*files, "diptych/catalog.json", "diptych/methods/classify/gda.toml"]) == []


def test_a_wheel_without_the_index_is_refused_before_it_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "diptych-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("diptych/__init__.py", "")
    assert main([str(wheel)]) == 1
    assert "lacks 1 files, such as diptych/catalog.json" in capsys.readouterr().err


def test_only_onnxruntime_is_the_engine_of_a_base_install() -> None:
    assert wrong_engine({"engine": "onnxruntime 1.32.0, fp32"}) is None
    assert str(wrong_engine({"engine": "torch"})).startswith("encode used torch, not onnxruntime")
    assert str(wrong_engine({})).startswith("encode used None")
