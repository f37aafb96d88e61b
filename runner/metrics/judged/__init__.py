"""Figures of judges: what sways them beside quality, and how far the judges of a panel agree."""

from runner.metrics.judged.bias import LengthBias, PositionBias, SelfPreference
from runner.metrics.judged.panel import PanelAgreement

__all__ = ["LengthBias", "PanelAgreement", "PositionBias", "SelfPreference"]
