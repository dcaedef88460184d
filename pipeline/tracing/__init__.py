"""Traces by OpenTelemetry: one a message, from fetch to commit. Off unless asked for.

Each stage exports its own spans. No stage tells another anything for it: the ids of a message's
trace follow from what every reference to the message holds (:mod:`pipeline.tracing.context`). The
SDK is imported by the processes that trace, and only when they do.
"""
