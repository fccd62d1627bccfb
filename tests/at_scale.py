"""What the tests of work on an engine share."""

import importlib.util

import pytest

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed: it needs an environment of its own, `make beam`",
)
