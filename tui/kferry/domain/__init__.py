"""The pure core: every decision of a migration is made here, without clock, I/O or logging."""
