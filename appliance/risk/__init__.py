"""The gate: the one function that turns an intent into an `Approved` or a `Denied`. Pure."""
