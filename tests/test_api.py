"""The public names and their signatures are frozen: whoever changes them writes tests/public_names.txt again."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import diptych
from diptych import testing
from diptych.cli.added_commands import PROOFS
from diptych.cli.commands import VERBS

FROZEN = Path(__file__).with_name("public_names.txt")
OPEN = ("Model", "Predictor", "Results")
"""Classes whose public methods are frozen too."""


def signatures() -> list[str]:
    """Return a line for each public name: ``python -m tests.test_api`` writes them."""
    found = []
    for name in diptych.__all__:
        thing = getattr(diptych, name)
        function = callable(thing) and not inspect.ismodule(thing)  # a module answers calls with what to write
        found.append(f"{name}{inspect.signature(thing)}" if function else name)
        found += [f"{name}.{step}{inspect.signature(of)}" for step, of in getattr(thing, "steps", {}).items()]
        for part, member in inspect.getmembers_static(thing) if name in OPEN else ():
            if callable(member) and not part.startswith("_") and part in vars(thing):
                found.append(f"{name}.{part}{inspect.signature(member)}")
            elif isinstance(member, property) and part in vars(thing):
                found.append(f"{name}.{part}")
    for name in testing.__all__:
        thing = getattr(testing, name)
        found.append(f"testing.{name}" + ("" if inspect.isclass(thing) else str(inspect.signature(thing))))
    return [re.sub(r"<function (\w+) at 0x\w+>", r"\1", line) for line in found]


def test_names_and_signatures_are_frozen() -> None:
    assert signatures() == FROZEN.read_text(encoding="utf-8").splitlines()


def test_no_public_signature_hides_its_options() -> None:
    assert not [line for line in signatures() if "**" in line]


def test_import_loads_nothing_but_the_package() -> None:
    code = (
        "import sys; import diptych; diptych.__version__; dir(diptych); import diptych.systems; dir(diptych.systems);"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'numpy', 'PIL', 'pyarrow', 'transformers')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_load_when_they_are_asked_for() -> None:
    assert sorted(dir(diptych)) == sorted(diptych.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'clasify': use classify$"):
        _ = diptych.clasify
    with pytest.raises(AttributeError, match=r"no attribute 'colour': dir\(diptych\) lists what it has$"):
        _ = diptych.colour


def test_names_of_other_libraries_lead_to_ours() -> None:
    for name, told in (
        ("create_model_and_transforms", r"use load\(name, pretrained\)"),
        ("pipeline", r"use classify\(photos, names\)"),
        ("from_pretrained", r"use load\(name, pretrained\)"),
        ("list_pretrained", r"use list_models\(\)"),
        ("new_system", "use 'diptych new-system' on the command line"),
    ):
        with pytest.raises(AttributeError, match=told):
            getattr(diptych, name)
    assert {name.replace("_", "-") for name in diptych._COMMANDS} == {*VERBS, *PROOFS} - set(diptych.__all__)


def test_the_classes_for_scikit_learn_are_there_without_an_import_of_their_own() -> None:
    words = "import diptych; print(diptych.sklearn.ImageEmbedder.__name__)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "ImageEmbedder\n"


def test_no_submodule_hides_a_function() -> None:
    folder = Path(diptych.__file__).parent
    submodules = {p.name if p.is_dir() else p.stem for p in folder.iterdir()}
    assert submodules & set(diptych.__all__) == {"systems"}


if __name__ == "__main__":
    FROZEN.write_text("\n".join(signatures()) + "\n", encoding="utf-8")


def test_a_module_that_is_imported_from_the_package_costs_no_search_for_another_name() -> None:
    code = "import sys; from diptych import catalog; print('diptych.systems' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
