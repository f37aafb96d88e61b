"""Read rows from files into a frame with `id`, `split` and named columns."""
