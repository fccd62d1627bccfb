"""Ranks the checkpoints of a training by their evaluations, to find the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

BEST, LATEST = "best", "latest"
"""Names of checkpoints: the one with the best evaluation, for use; and the newest, to continue from."""

AUTO = "auto"
"""`config.train.best_metric`: the joint validation loss where it is computed, or else the mean PSNR."""

_BY_DEFAULT = (("loss", "min"), ("psnr", "max"))


class Ranking:
    """Ranks the metrics of evaluations, as `config.train.best_metric` and `best_mode` say."""

    def __init__(self, metric: str = AUTO, mode: str = "max"):
        self._preferred = _BY_DEFAULT if metric == AUTO else ((metric, mode),)

    @classmethod
    def of(cls, config: ConfigDict) -> Ranking:
        """Returns the ranking of a training's config."""
        return cls(config.train.best_metric, config.train.best_mode)

    def metric(self, metrics: Mapping[str, Any] | None) -> str | None:
        """Returns the name of the metric to rank these by; None if they lack it."""
        for name, _ in self._preferred:
            if metrics and math.isfinite(metrics.get(name, math.nan)):
                return name
        return None

    def score(self, metrics: Mapping[str, Any] | None) -> tuple[float, float]:
        """Returns a score that is larger for a better checkpoint; having the preferred metric beats lacking it."""
        found = self.metric(metrics)
        for preference, (name, mode) in enumerate(self._preferred):
            if name == found and metrics:
                return -preference, metrics[name] if mode == "max" else -metrics[name]
        return -math.inf, 0.0
