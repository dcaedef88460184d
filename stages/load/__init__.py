"""Sealed batches into Snowflake: staged with ``write_pandas``, merged in one transaction."""
