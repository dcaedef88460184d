"""The command line and the settings."""

import msgspec
import pytest

from pipeline.sandbox.arm.__main__ import settings_from
from pipeline.sandbox.arm.settings import Settings, SettingsChange


def test_without_arguments_the_defaults_hold() -> None:
    assert settings_from([]) == Settings()


def test_arguments_are_parsed_by_type() -> None:
    settings = settings_from(
        ["--subscriptions", "7", "--buckets", "off", "--latency-ms", "1.5", "--token", "12"]
    )
    assert (settings.subscriptions, settings.buckets) == (7, False)
    assert (settings.latency_ms, settings.token) == (1.5, "12")


@pytest.mark.parametrize("arguments", [["--vms", "-1"], ["--port", "99999"], ["--page-size", "x"]])
def test_a_value_out_of_range_is_refused(arguments: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        settings_from(arguments)


def test_a_change_leaves_the_rest() -> None:
    changed = SettingsChange(page_size=7).apply(Settings(vms=9))
    assert (changed.page_size, changed.vms) == (7, 9)


def test_tokens_are_no_settings() -> None:
    change = SettingsChange(tokens=["a"], graph_tokens=["b"], graph_get_quota=9)
    assert change.apply(Settings(graph_token="c")) == Settings(graph_token="c", graph_get_quota=9)
