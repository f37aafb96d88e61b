"""JSON over HTTP: calls, failures, what headers tell."""
