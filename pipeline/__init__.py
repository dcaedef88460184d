"""What every stage of the collector stands on: settings, messages, links, the supervisor."""

__version__ = "0.1.0"
