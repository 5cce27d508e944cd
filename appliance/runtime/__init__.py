"""The composition root: configuration, parts list, supervision, command line. Nobody imports it."""
