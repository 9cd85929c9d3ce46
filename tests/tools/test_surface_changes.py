from __future__ import annotations

import json

from tools.surface_changes import changes

HELP = "$ diptych classify --help\n│ --names  <str>  Words.  │\n│ --rate   <float>  With --names.  │\n\n"
OPENAPI = {"paths": {"/search": {}}, "components": {"schemas": {"Found": {"properties": {"path": {}, "score": {}}}}}}
BEFORE = {
    "help.txt": HELP,
    "signatures.txt": "classify(photos, names: str = 'a', *, top: int = 5) -> Results\n",
    "answers.json": json.dumps({"classify": {"exit": 0, "json": {"photos": [{"path": "str"}]}}}),
    "openapi.json": json.dumps(OPENAPI),
}


def test_nothing_is_gone_or_new_between_equal_versions() -> None:
    assert changes(BEFORE, BEFORE) == ([], [])


def test_each_kind_of_change_is_a_line() -> None:
    fields = {"Found": {"properties": {"path": {}, "cut": {}}}}
    after = {
        "help.txt": HELP.replace("--rate ", "--false-alarm-rate "),
        "signatures.txt": "classify(photos, names: str = 'a', *, most: int = 5) -> Results\ncheck(data)\n",
        "answers.json": json.dumps({"classify": {"exit": 3, "json": {"photos": [{"name": "str"}]}}}),
        "openapi.json": json.dumps({"paths": {}, "components": {"schemas": fields}}),
    }
    gone, new = changes(BEFORE, after)
    assert gone == [
        "gone: command diptych classify: --rate",
        "gone: name classify: top",
        "gone: answer of classify: .exit 0, .json.photos[].path",
        "gone: routes: /search",
        "gone: schema Found: score",
    ]
    assert new == [
        "new: command diptych classify: --false-alarm-rate",
        "new: name check",
        "new: name classify: most",
        "new: answer of classify: .exit 3, .json.photos[].name",
        "new: schema Found: cut",
    ]
