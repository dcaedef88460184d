"""What a message may say, and the services it may say it of.

::

    envelopes               stored text to typed fields
    rules                   every rule of the format: :func:`.rules.parse_message`
    targets  headers        path and query, extra headers
    selects                 what is kept of each resource
    read_actions            which POSTs only read
    excerpts                what of a bad message is quoted
    services  examples      the table of services, and a message for each
"""
