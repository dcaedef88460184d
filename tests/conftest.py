"""What tests of every kind may use."""

from __future__ import annotations

from hypothesis import settings

# ``--hypothesis-profile few``: where the libraries are tried and not the rules.
settings.register_profile("few", max_examples=10)

pytest_plugins = ["tests.sandbox_fixture", "tests.secrets_plugin"]
