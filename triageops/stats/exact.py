"""Exact e-tests for counts over arms: do shares, or rates of rare events, differ from what allocation implies?

Counts x_j fall into arms with null probabilities theta_j, n in all; the alternative has a Dirichlet prior with
parameters a_j = concentration * theta_j, fixed before the first look:

    log E = lgamma(sum a) - lgamma(sum a + n) + sum_j [lgamma(a_j + x_j) - lgamma(a_j) - x_j log(theta_j)]

The probability that E ever reaches 1 / alpha is at most alpha under the null, at any sample size and however
often one looks. Units and their arms make it a test of allocation (sample ratio mismatch); units with a rare
event make it a test of equal rates: given that an event falls on an arm, it is that arm with its allocation
share, whatever the rate is and however it moves. An event counts once per unit, the first time.

Source: Lindon, Malek, "Anytime-valid inference for multinomial count data" (arXiv 2011.03567).
Accuracy: about 1e-15 n log(n). The tests' reference values: scipy.special and ssrm-test (Optimizely).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triageops.stats.interval import Interval

_MISMATCH_ALPHA = 0.001


def log_e_multinomial(counts: Sequence[int], shares: Sequence[float], *, concentration: float) -> float:
    """log E against the counts falling into arms in proportion to shares; may be negative.

    counts, shares: one per arm, >= 0; shares in any unit, not all 0. An arm with share 0 is left out (it adds
    no degree of freedom), but a count in it has probability 0: infinity. concentration > 0: how near to the
    shares an alternative is expected; 1000 for allocation, 20 for rare events.
    """
    total = _checked_total(counts, shares)
    if not 0 < concentration < math.inf:
        raise ValueError(f"concentration {concentration} is not positive and finite")
    if any(x and not share for x, share in zip(counts, shares, strict=True)):
        return math.inf
    log_e = math.lgamma(concentration) - math.lgamma(concentration + sum(counts))
    for x, share in zip(counts, shares, strict=True):
        if share:
            theta = share / total
            a = concentration * theta
            log_e += math.lgamma(a + x) - math.lgamma(a) - x * math.log(theta)
    return log_e


@dataclass(frozen=True, slots=True)
class Srm:
    """Sample ratio mismatch: log E over all epochs, p in [0, 1] of this look, mismatch when E >= 1000.

    worst_arm: index of the arm farthest from its expected count, in standard deviations; None when none can be
    off (no units, or one arm). observed, expected: counts of each arm over all epochs, for reading: epochs may
    balance each other there, log_e sees each for itself. For p at every look keep the largest log_e.
    """

    log_e: float
    p: float
    is_mismatch: bool
    worst_arm: int | None
    observed: tuple[int, ...]
    expected: tuple[float, ...]


def srm(epochs: Sequence[tuple[Sequence[int], Sequence[float]]], *, concentration: float = 1000.0) -> Srm:
    """Do the counts of units fit the shares in force? epochs: (counts, shares) of each time with fixed shares.

    The same arms in each epoch, in the same order; at least one epoch. Evidence of epochs adds: the units of
    one say nothing about the next one's under the null. Share 0 and infinity as in log_e_multinomial.
    """
    arm_count = len(epochs[0][0]) if epochs else 0
    if not arm_count or any(len(counts) != arm_count for counts, _ in epochs):
        raise ValueError("expected at least one epoch, each with the same arms")
    log_e = math.fsum(
        log_e_multinomial(counts, shares, concentration=concentration) for counts, shares in epochs
    )
    observed, expected, variance = [0] * arm_count, [0.0] * arm_count, [0.0] * arm_count
    for counts, shares in epochs:
        n, total = sum(counts), math.fsum(shares)
        for j, (x, share) in enumerate(zip(counts, shares, strict=True)):
            observed[j] += x
            expected[j] += n * (share / total)
            variance[j] += n * (share / total) * (1 - share / total)
    distances = [_distance(x - e, v) for x, e, v in zip(observed, expected, variance, strict=True)]
    farthest = max(distances)
    return Srm(
        log_e=log_e,
        p=math.exp(-max(0.0, log_e)),
        is_mismatch=log_e >= -math.log(_MISMATCH_ALPHA),
        worst_arm=distances.index(farthest) if farthest > 0 else None,
        observed=tuple(observed),
        expected=tuple(expected),
    )


def log_e_rare(x_t: int, x_c: int, share_t: float, *, concentration: float = 20.0) -> float:
    """log E against equal rates. x_t, x_c: units with the event in treatment and control.

    share_t: the treatment's share of the units of the two, in (0, 1).
    """
    _refuse_share(share_t)
    return log_e_multinomial((x_t, x_c), (share_t, 1 - share_t), concentration=concentration)


def log_e_rare_greater(x_t: int, x_c: int, share_t: float, *, concentration: float = 20.0) -> float:
    """log E against the treatment's rate being the control's or less: the prior is cut to shares above share_t.

    Valid for any lower rate too: an event's likelihood ratio of a share above share_t against share_t itself
    has expectation <= 1 under every share up to share_t. Arguments as in log_e_rare.
    """
    two_sided = log_e_rare(x_t, x_c, share_t, concentration=concentration)
    a, b = concentration * share_t, concentration * (1 - share_t)
    # P(theta > s) of Beta(a, b) is P(1 - theta < 1 - s) of Beta(b, a).
    posterior = log_beta_cdf(1 - share_t, b + x_c, a + x_t)
    return two_sided + posterior - log_beta_cdf(1 - share_t, b, a)


@dataclass(frozen=True, slots=True)
class Events:
    """Units with the event in the two arms, over a time with fixed shares. share_t: as in log_e_rare."""

    x_t: int
    x_c: int
    share_t: float

    @property
    def log_odds(self) -> float:
        return math.log(self.share_t) - math.log1p(-self.share_t)

    def log_likelihood(self, delta: float) -> float:
        """At a rate ratio of e^delta."""
        return _log_likelihood(self.x_t, self.x_c, self.log_odds + delta)


def rate_ratio_sequence(
    epochs: Sequence[Events], *, alpha: float, concentration: float = 20.0
) -> Interval | None:
    """Rate of the treatment / rate of the control: in the interval at every look with probability 1 - alpha.

    All ratios e^delta with E < 1 / alpha against theta_t = w_t e^delta / (w_t e^delta + w_c) in every epoch at once, so
    neither the rate nor the shares need to stay what they are; the priors stay those of log_e_rare, so 1 is outside
    exactly when the tests of the epochs together reject. low is 0.0 without treatment events, high infinity without
    control events. None: no ratio fits all epochs, it has changed. Arguments as in log_e_rare; alpha in (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is not between 0 and 1")
    log_e = math.fsum(
        log_e_rare(one.x_t, one.x_c, one.share_t, concentration=concentration) for one in epochs
    )

    def likelihood(delta: float) -> float:
        return math.fsum(one.log_likelihood(delta) for one in epochs)

    # E at delta is E at 0 times the ratio of the likelihoods.
    limit = log_e + likelihood(0.0) + math.log(alpha)
    best = _best_ratio(epochs)
    if likelihood(best) < limit:
        return None
    return Interval(_ratio_with(likelihood, limit, best, -_FAR), _ratio_with(likelihood, limit, best, _FAR))


_FAR = 700.0
"""A rate ratio of e^700 is infinite for all that can be counted."""


def _best_ratio(epochs: Sequence[Events]) -> float:
    """The most likely delta, by bisection on the slope, which falls."""
    low, high = -_FAR, _FAR
    while low < (middle := (low + high) / 2) < high:
        slope = math.fsum(
            one.x_t - (one.x_t + one.x_c) / (1 + math.exp(-one.log_odds - middle)) for one in epochs
        )
        low, high = (middle, high) if slope > 0 else (low, middle)
    return low


def _ratio_with(likelihood: Callable[[float], float], limit: float, best: float, far: float) -> float:
    """Between the most likely delta and one far out: where the likelihood is at the limit, as a ratio."""
    if likelihood(far) >= limit:
        return 0.0 if far < 0 else math.inf
    inside, outside = best, far
    while abs(outside - inside) > 1e-13 * (1 + abs(inside)):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if likelihood(middle) >= limit else (inside, middle)
    return math.exp(outside)


def log_beta_cdf(x: float, a: float, b: float) -> float:
    """log of the regularised incomplete beta function I_x(a, b), for 0 < x < 1 and a, b > 0, also where I underflows.

    Source: DLMF 8.17.22 (continued fraction, by Lentz's method) on the side where it converges fast, 8.17.4 on
    the other. About sqrt(max(a, b)) steps. Accuracy: about 1e-15 (a + b) log(a + b) absolute, and that divided by I on the
    other side.
    """
    if not (0 < x < 1 and 0 < a < math.inf and 0 < b < math.inf):
        raise ValueError(f"no beta distribution function at x = {x}, a = {a}, b = {b}")
    if x > (a + 1) / (a + b + 2):
        other = math.exp(_log_beta_tail(1 - x, b, a))
        return math.log1p(-other) if other < 1 else -math.inf
    return _log_beta_tail(x, a, b)


def _log_beta_tail(x: float, a: float, b: float) -> float:
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1_000_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + even * d), 1 + even / c
        fraction *= d * c
        d, c = 1 / (1 + odd * d), 1 + odd / c
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return log_front - math.log(a) + math.log(fraction)


def _log_likelihood(x: int, y: int, log_odds: float) -> float:
    softplus = max(log_odds, 0.0) + math.log1p(math.exp(-abs(log_odds)))
    return x * (log_odds - softplus) - y * softplus


def _distance(difference: float, variance: float) -> float:
    """In standard deviations; infinite for an arm that should have had none, 0 where nothing can differ."""
    if variance > 0:
        return abs(difference) / math.sqrt(variance)
    return math.inf if abs(difference) > 0.5 else 0.0


def _checked_total(counts: Sequence[int], shares: Sequence[float]) -> float:
    if len(counts) != len(shares) or any(x < 0 for x in counts):
        raise ValueError("expected one count, 0 or more, for each share")
    if not all(0 <= share < math.inf for share in shares) or not any(shares):
        raise ValueError("shares need to be finite, 0 or more, and not all 0")
    return math.fsum(shares)


def _refuse_share(share_t: float) -> None:
    if not 0 < share_t < 1:
        raise ValueError(f"share {share_t} of the treatment is not between 0 and 1")
