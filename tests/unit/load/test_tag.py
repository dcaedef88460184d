"""QUERY_TAG names collector, version and batch, within Snowflake's limit."""

from __future__ import annotations

import json
import socket

import pipeline
from pipeline.spool import new_batch_id
from stages.load.tag import query_tag, tag_sql

SNOWFLAKE_LIMIT_CHARS = 2000


def test_a_load_names_collector_version_and_batch() -> None:
    assert json.loads(query_tag(["b-1"], "host-1")) == {
        "collector": "azure-collector@host-1",
        "version": pipeline.__version__,
        "batch": "b-1",
    }


def test_batches_that_are_joined_are_counted_from_the_first_to_the_last() -> None:
    told = json.loads(query_tag(["b-1", "b-2", "b-3"]))
    assert (told["batch"], told["batches"], told["last_batch"]) == ("b-1", 3, "b-3")


def test_a_session_without_a_load_names_no_batch() -> None:
    assert json.loads(query_tag()).keys() == {"collector", "version"}


def test_the_host_is_this_one_unless_it_is_told() -> None:
    assert json.loads(query_tag())["collector"] == f"azure-collector@{socket.gethostname()}"


def test_however_many_batches_and_whatever_the_host_the_tag_is_short_enough() -> None:
    # A control character takes six in JSON.
    tag = query_tag([new_batch_id() for _ in range(256)], "\x01" * 5000)
    assert len(tag) <= SNOWFLAKE_LIMIT_CHARS
    json.loads(tag)


def test_no_name_ends_the_statement() -> None:
    assert tag_sql("it's a \\") == "ALTER SESSION SET QUERY_TAG = 'it''s a \\\\'"
