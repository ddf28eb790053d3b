from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from outlast_broker.config import Config
from outlast_broker.doors.address import parse_address
from outlast_broker.retention import Retention
from outlast_protocol import limits


def test_the_defaults_are_safe_to_start_with() -> None:
    config = Config()
    assert [parse_address(text).host for text in config.listen] == ["127.0.0.1"]  # type: ignore[union-attr]
    assert config.data is not None
    assert config.retention == Retention(), "nothing is forgotten that nobody asked to forget"
    assert config.hello_timeout_ms == 5_000, "PROTOCOL.md 3.2"
    assert config.channels_per_connection == limits.CHANNELS_MAX


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().data = Path("elsewhere")  # type: ignore[misc]


def test_every_number_says_its_unit() -> None:
    units = ("_ms", "_bytes", "_per_connection")
    numbers = [field.name for field in dataclasses.fields(Config) if type(getattr(Config(), field.name)) is int]
    assert numbers and [name for name in numbers if not name.endswith(units)] == []
