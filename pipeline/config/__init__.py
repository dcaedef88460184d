"""The settings: what there are (:mod:`.settings`), where they come from, what they have to keep.

::

    settings ◄── kinds      one row a setting, and how its text is read
    sources                 command line > environment > .env > sandbox > profile > default
    rules                   what two settings must agree on
    reading                 all of it together: :func:`load` gives a :class:`Config`
    table                   the README's table of settings
"""

from pipeline.config.reading import Config, load, read_again, resolved

__all__ = ["Config", "load", "read_again", "resolved"]
