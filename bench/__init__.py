"""Measurements of the collector, each a command: ``python -m bench.<name>``."""
