"""Built-in strategies: observations in, changes of mind out. R1: pure, integers only, no claim of profit."""
