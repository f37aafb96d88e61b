"""Ratings of players from verdicts on pairs of them: Bradley-Terry and Elo."""

from runner.metrics.tournament.ratings import BradleyTerry, Elo

__all__ = ["BradleyTerry", "Elo"]
