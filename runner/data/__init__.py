"""Rows: from a file to a frame with `id`, `split` and named columns."""
