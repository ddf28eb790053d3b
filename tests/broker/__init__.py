"""The broker's tests: one file for each of its modules, and what they share."""

import pytest

pytest.register_assert_rewrite(
    "tests.broker.log_contract", "tests.broker.stage", "tests.broker.logs", "tests.broker.room"
)
