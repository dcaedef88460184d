"""Messages come off the queue here, and leave it here once their rows are committed."""
