"""A Bayesian reading of one effect. Not error-controlled when peeking: never a decision's only ground."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Posterior:
    """mean and sd: of the effect, in its unit. chance_to_win: that the treatment is better, in [0, 1].

    expected_loss_treatment: how much is lost on average, in the effect's unit, by choosing the treatment where
    the control is better; expected_loss_control: the other way round.
    """

    mean: float
    sd: float
    chance_to_win: float
    expected_loss_treatment: float
    expected_loss_control: float


def posterior(
    effect: float, se: float, *, prior_sd: float, prior_mean: float = 0.0, is_higher_better: bool = True
) -> Posterior:
    """Normal estimate of effect (treatment minus control) and se > 0, normal prior; prior_sd inf is flat.

    se, prior_sd: > 0; else, or when anything else is not finite, ValueError. Source: Gelman et al., "Bayesian
    Data Analysis" (3rd ed.), section 2.5; losses: Stucchio, "Bayesian A/B testing at VWO" (2015), with E max(0, x)
    of a normal x. Accuracy: about 1e-14 of mean and sd. The tests' reference values: scipy.integrate.quad.
    """
    if not (math.isfinite(effect) and math.isfinite(prior_mean) and 0 < se < math.inf and prior_sd > 0):
        raise ValueError(f"effect {effect} ± {se}, prior {prior_mean} ± {prior_sd}")
    # se^2 / (se^2 + prior_sd^2), written so that nothing leaves the range of doubles.
    pull = (
        1 / (1 + (prior_sd / se) ** 2)
        if prior_sd <= se
        else (se / prior_sd) ** 2 / (1 + (se / prior_sd) ** 2)
    )
    mean = effect + pull * (prior_mean - effect)
    sd = se * math.sqrt(1 - pull) if prior_sd > se else prior_sd * math.sqrt(pull)
    gain = mean if is_higher_better else -mean
    return Posterior(mean, sd, _cdf(gain / sd), _expected_excess(-gain, sd), _expected_excess(gain, sd))


def _cdf(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


def _expected_excess(mean: float, sd: float) -> float:
    """E max(0, x) of a normal x."""
    z = mean / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return max(0.0, sd * density + mean * _cdf(z))
