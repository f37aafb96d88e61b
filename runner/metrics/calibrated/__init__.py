"""What people would say of all rows, from a judge's values of all of them and people's labels of some."""

from runner.metrics.calibrated.metric import CalibratedMean, CalibratedShare

__all__ = ["CalibratedMean", "CalibratedShare"]
