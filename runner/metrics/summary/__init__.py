"""Numbers about columns of rows: means, their standard errors, quantiles and ratios, with weights."""

from runner.metrics.summary.measures import Mean, Quantile, Ratio, StdErr

__all__ = ["Mean", "Quantile", "Ratio", "StdErr"]
