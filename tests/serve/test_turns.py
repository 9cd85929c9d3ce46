from __future__ import annotations

from diptych.serve.turns import Turns, in_turns


def emptied(turns: Turns[str]) -> str:
    taken = []
    while turns:
        taken.append(turns.pop())
    return "".join(taken)


def test_clients_take_turns_and_so_do_the_requests_of_a_client() -> None:
    turns: Turns[str] = Turns()
    for name in "abc":
        turns.put(("many", 1), name)
    for name in "de":
        turns.put(("many", 2), name)
    turns.put(("few", 3), "x")
    turns.put(("few", 3), "y")
    assert "".join(turns) == "axdybec"
    assert emptied(turns) == "axdybec"
    assert not turns


def test_who_was_served_comes_last() -> None:
    turns: Turns[str] = Turns()
    turns.put(("a", 1), "1")
    turns.put(("a", 1), "2")
    turns.put(("b", 2), "3")
    turns.remove(("a", 1), "1")
    assert emptied(turns) == "32"


def test_the_items_of_a_client_are_counted_without_the_others() -> None:
    turns: Turns[str] = Turns()
    turns.put(("a", 1), "1")
    turns.put(("a", 2), "2")
    turns.put(("b", 3), "3")
    assert sorted(turns.of("a")) == ["1", "2"]
    assert list(turns.of("nobody")) == []


def test_queues_of_different_lengths_are_interleaved() -> None:
    assert list(in_turns([[1, 2, 3], [], [4], [5, 6]])) == [1, 4, 5, 2, 6, 3]
