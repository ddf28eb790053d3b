"""The tests: one folder for each library, `fuzz` for hostile bytes, `support` for what they share."""

import pytest

pytest.register_assert_rewrite("tests.support.broker", "tests.support.web")
