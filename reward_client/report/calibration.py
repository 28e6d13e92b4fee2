"""The margins of pairs, and how often the model is right by the probability that they stand for."""

from __future__ import annotations

from reward_client._base.activation import sigmoid
from reward_client._base.reservoir import Distribution
from reward_client._base.results import Settings
from reward_client._base.statistics import wilson_interval
from reward_client._base.wording import percent
from reward_client._pages.charts import Interval, calibration
from reward_client._pages.sections import Figure, Section, Table
from reward_client._rows.scored import ScoredRow, is_right
from reward_client.report.rewards import histograms

_BINS = 10
_MODEL = (
    "Calibration assumes that rewards are logits of a Bradley-Terry model (Biometrika 39, 1952, "
    "p. 324), in which one answer beats another with the probability sigmoid(margin)."
)


class Calibration:
    """Takes margins, and counts comparisons by the probability of the answer with more reward.

    Bins have a width of 0.05, from 0.5 to 1. Each row weighs 1: a comparison of a row with several
    weighs a part of it.
    """

    def __init__(self) -> None:
        self._weights = [0.0] * _BINS
        self._probabilities = [0.0] * _BINS
        self._right = [0.0] * _BINS
        self._margins = Distribution()
        self._has_steps = False

    def add(self, row: ScoredRow) -> None:
        """Count the comparisons of a row."""
        self._has_steps |= "step_rewards" in row.columns
        if row.pair is None:
            return
        self._margins.add(row.pair.margin)
        weight = 1 / len(row.pair.margins)
        for margin in row.pair.margins:
            probability = sigmoid(abs(margin))
            index = min(int((probability - 0.5) * 2 * _BINS), _BINS - 1)
            self._weights[index] += weight
            self._probabilities[index] += weight * probability
            self._right[index] += weight * is_right(margin)

    def error(self) -> float:
        """Return the expected calibration error (Naeini, Cooper, Hauskrecht, AAAI 2015).

        It is the mean over all pairs of the distance between the part of right pairs in a bin and
        the mean probability in it.
        """
        distances = map(_distance, self._right, self._probabilities)
        return sum(distances) / sum(self._weights)

    def section(self, settings: Settings | None) -> Section | None:
        """Return the section on margins and calibration; None without pairs.

        Args:
            settings: The settings of the run; None if they are unknown.
        """
        if not self._margins.count:
            return None
        charts = histograms("margin", "Margins: chosen minus rejected", {"all": self._margins})
        reason = "they come from probabilities of steps" if self._has_steps else None
        reason = reason or _no_logits(settings)
        if reason is not None:
            words = [f"The rewards are no logits of a Bradley-Terry model, since {reason}."]
        else:
            known = "" if settings else " The settings are missing, so that this is a guess."
            error = f"The expected calibration error is {percent(self.error())}, over {_BINS} bins."
            words = [_MODEL + known, error]
            charts.append(self._figure())
        return Section("Margins and calibration", [*words, *charts])

    def _figure(self) -> Figure:
        parts = [
            (
                self._probabilities[index] / weight,
                Interval(
                    f"{percent(0.5 + index / 20)} to {percent(0.55 + index / 20)}",
                    self._right[index] / weight,
                    *wilson_interval(self._right[index], weight),
                ),
            )
            for index, weight in enumerate(self._weights)
            if weight
        ]
        weights = [weight for weight in self._weights if weight]
        return Figure(
            "Probability of the model and share of right pairs",
            "Points below the diagonal are pairs for which the model is too sure. "
            f"The last bin has a probability of {percent(parts[-1][0])}, and "
            f"{percent(parts[-1][1].value)} of its pairs are right.",
            calibration(parts),
            Table(
                "Pairs by probability",
                ["probability", "pairs", "mean probability", "right", "from", "to"],
                [
                    [
                        part.name,
                        f"{weight:,.4g}" if weight % 1 else f"{weight:,.0f}",
                        percent(probability),
                        *map(percent, (part.value, part.low, part.high)),
                    ]
                    for weight, (probability, part) in zip(weights, parts, strict=True)
                ],
            ),
            "Dashed: a calibrated model. Below it, the model is too sure; above it, too careful. "
            "Whiskers: 95% intervals.",
        )


def _distance(right: float, probability: float) -> float:
    return abs(right - probability)


def _no_logits(settings: Settings | None) -> str | None:
    """Return the reason why the rewards of a run are no logits; None if they may be."""
    if settings is None:
        return None
    if settings.method == "verdict":
        return "they are marks that a judge wrote, or shares of its verdicts"
    if settings.method == "yes or no":
        return "each is the log-odds of one answer to a question"
    if settings.head.startswith("steps"):
        return "they come from probabilities of steps"
    if "objectives" in settings.head:
        return "they are weighted sums of objectives"
    return None
