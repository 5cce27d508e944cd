"""Connectors to exchanges, and the paper venue. `submit` takes only an `Approved`."""
