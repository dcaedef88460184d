"""What somebody would write or use in place of the collector, one program each.

Each stands alone and imports nothing of this project: it could be anybody's. All read the same
messages, make the same calls, and load a table RESOURCES; their settings are environment variables
with the names that the collector's have.
"""
