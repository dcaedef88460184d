"""What tests of every kind may use."""

from __future__ import annotations

pytest_plugins = ["tests.sandbox_fixture"]
