"""Figures of judges: what sways them beside quality, how far those of a panel agree, and other scorers."""

from runner.metrics.judged.bias import LengthBias, PositionBias, SelfPreference
from runner.metrics.judged.panel import PanelAgreement
from runner.metrics.judged.scorer import ScorerAgreement

__all__ = ["LengthBias", "PanelAgreement", "PositionBias", "ScorerAgreement", "SelfPreference"]
