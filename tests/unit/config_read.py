"""Settings read as a command reads them, and the problems they have."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from pipeline.config import Config, load
from pipeline.errors import ConfigError
from tests import secrets_seen

KEY = secrets_seen.secret("c2VjcmV0LWtleQ==")
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={KEY}"


def read(environ: Mapping[str, str], needs: Collection[str] = ()) -> Config:
    return load(environ=environ, needs=needs, resolve_secrets=False)


def problems(environ: Mapping[str, str], needs: Collection[str] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(environ, needs)
    return caught.value.problems


def problem(environ: Mapping[str, str], needs: Collection[str] = ()) -> str:
    found = problems(environ, needs)
    assert len(found) == 1, found
    return found[0]
