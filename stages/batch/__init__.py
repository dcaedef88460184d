"""Rows are built into Arrow batches here and sealed in the spool."""
