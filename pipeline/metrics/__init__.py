"""What the collector counts: the catalogue of metrics, and each process's store of them."""
