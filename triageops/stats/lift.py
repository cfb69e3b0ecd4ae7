"""The relative lift of a treatment over its control, for reading; decisions are made on the absolute scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

from triageops.stats.compare import Contrast


@dataclass(frozen=True, slots=True)
class Relative:
    """lift: 0.1 is ten percent more. low and high are None together: undefined, any lift may be."""

    lift: float
    low: float | None
    high: float | None


def relative(contrast: Contrast, z: float) -> Relative | None:
    """(m_t - m_c) / |m_c| with Fieller's interval; None when the control's mean is 0.

    z > 0: critical value; of a confidence sequence, its half width divided by the standard error. The interval
    is all r with |m_t - r m_c| <= z standard errors of that, less 1; with the contrast's interval_se, so that it has
    0 in it exactly when effect ± z interval_se has. Undefined when it is unbounded, which is when the control's
    own interval has 0 in it.

    Always Fieller's, which for a certain control (z^2 v_c << m_c^2) becomes the delta method's, lift ± z times
    the root of v_t / m_c^2 + v_c m_t^2 / m_c^4 - 2 cov m_t / m_c^3. To change over at 3 standard errors of m_c,
    as is often advised, lets the data choose the formula: 400 000 simulated 95 % intervals cover 88 % then (true
    m_c of 2.5 standard errors, lift 0.3), 92 % (5), 93 % when changing over at 10 (10); Fieller's set covers 95 %.

    Source: E. C. Fieller, "Some problems in interval estimation" (1954), with the covariance of the means.
    Accuracy: about 1e-14. The tests' reference: the defining equation, the delta method, simulated coverage.
    """
    if not 0 < z < math.inf:
        raise ValueError(f"critical value {z}")
    scale = abs(contrast.value_control)
    if scale == 0 or not math.isfinite(contrast.effect / scale):
        return None
    lift = contrast.effect / scale
    sign = math.copysign(1.0, contrast.value_control)
    # Everything divided by the control's mean: a x^2 - 2 b x + c <= 0 for x = r - 1, which is small as lifts are.
    v_control = (z * contrast.se_control / scale) ** 2
    if v_control >= 1:
        return Relative(lift, None, None)
    effect = sign * lift
    v_effect = (z * contrast.interval_se / scale) ** 2
    v_cross = z * z * (contrast.covariance - contrast.se_control**2) / scale / scale
    a, b, c = 1 - v_control, effect - v_cross, effect * effect - v_effect
    root = math.sqrt(max(0.0, b * b - a * c))
    ends = sorted(sign * (b + side * root) / a for side in (-1, 1))
    return Relative(lift, ends[0], ends[1])
