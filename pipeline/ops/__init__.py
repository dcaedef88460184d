"""How a running collector shows itself: ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``."""
