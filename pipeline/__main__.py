"""``python -m pipeline``: the collector."""

import sys

# Spawned processes import this module under another name, and need nothing of it.
if __name__ == "__main__":
    from pipeline.cli import main

    sys.exit(main())
