"""One file for each group of commands of ``azure-collector``."""
