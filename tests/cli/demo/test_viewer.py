from __future__ import annotations

from outlast_cli.demo.viewer import Catchup, Return


def test_what_was_accepted_while_away_was_replayed() -> None:
    catchup = Catchup()
    assert catchup.see(10, False) is None
    catchup.begin(100, 42)
    assert [catchup.see(time_ms, False) for time_ms in (90, 99)] == [None, None]
    assert catchup.see(100, False) == Return(42, 2)
    assert catchup.see(101, False) is None


def test_the_last_record_ends_a_return_too() -> None:
    catchup = Catchup()
    catchup.begin(100, 42)
    assert catchup.see(50, True) == Return(42, 1)


def test_nothing_missed() -> None:
    catchup = Catchup()
    catchup.begin(100, 42)
    assert catchup.see(100, False) == Return(42, 0)


def test_away_again_before_it_had_caught_up() -> None:
    catchup = Catchup()
    catchup.begin(100, 42)
    catchup.see(90, False)
    catchup.begin(200, 43)
    assert catchup.see(200, False) == Return(42, 1)
