from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.tasks.curate.agents import agents_of


def test_words_name_models_and_addresses() -> None:
    agents = agents_of(["judge=org/big@v2@http://h:1/v1", "small@http://h/v1"], "KEY")
    assert [agents[n].model for n in ("describe", "revise", "judge", "shorten")] == [
        "small",
        "small",
        "org/big@v2",
        "small",
    ]
    assert (agents["judge"].base_url, agents["judge"].key_variable) == ("http://h:1/v1", "KEY")
    assert list(agents_of(["describe=m@http://h/v1"])) == ["describe"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model"], "'model' names no agent"),
        (["judge=m@http://h/v1"], "Agents write the captions"),
        (["m@http://h/v1", "n@http://h/v1"], "The agent of all is given twice"),
        (["m@h"], "'h' is no address"),
        ([], "give agent"),
    ],
)
def test_bad_words_are_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        agents_of(words)
