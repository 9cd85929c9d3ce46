from __future__ import annotations

from tools import seed_intervals


def test_both_intervals_are_counted_and_their_widths_compared(monkeypatch) -> None:
    monkeypatch.setattr(seed_intervals, "RUNS", 10)
    for mean in (None, 0.7):
        bootstrap, two_way, ratio = seed_intervals.compared(3, 20, 0.02, mean)
        assert 0.6 <= bootstrap <= 1
        assert 0.6 <= two_way <= 1
        assert 0.5 < ratio < 3
