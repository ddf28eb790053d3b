from __future__ import annotations

from outlast_broker.damage import Damaged


def test_damage_says_what_fails_and_is_no_os_error() -> None:
    """The broker stops at the first OSError; damage to one channel must not look like it."""
    damage = Damaged("a chunk of channel number 7 fails its checksum")
    assert str(damage) == "a chunk of channel number 7 fails its checksum"
    assert not isinstance(damage, OSError)
