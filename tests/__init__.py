"""Asserts in tests/support explain themselves as those in tests do."""

import pytest

pytest.register_assert_rewrite("tests.support")
