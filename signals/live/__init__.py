"""Live: the conductor that joins exchange, recorder, pipeline, ledger and pages."""
