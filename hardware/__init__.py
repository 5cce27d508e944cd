"""The guard: the small process that owns the GPIO lines. It shares nothing with the core but two pages."""
