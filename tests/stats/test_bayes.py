import math

import pytest
from scipy import integrate, stats

from triageops.stats.bayes import posterior


@pytest.mark.parametrize(
    ("effect", "se", "prior_mean", "prior_sd"),
    [(0.02, 0.01, 0, 0.05), (-3, 2, 1, 0.5), (0, 1, 0, 1), (5, 1, -1, 30)],
)
@pytest.mark.parametrize("is_higher_better", [True, False])
def test_posterior_equals_numerical_integration(
    effect: float, se: float, prior_mean: float, prior_sd: float, is_higher_better: bool
) -> None:
    reach = (min(effect - 12 * se, prior_mean), max(effect + 12 * se, prior_mean))

    def integral(power: float, low: float = reach[0], high: float = reach[1]) -> float:
        """Of |x|^power times likelihood and prior."""
        value: float = integrate.quad(
            lambda x: (
                abs(x) ** power * stats.norm.pdf(effect, x, se) * stats.norm.pdf(x, prior_mean, prior_sd)
            ),
            low,
            high,
            points=[0, effect] if low < 0 < high else None,
            epsabs=0,
            limit=200,
        )[0]
        return value

    whole = integral(0)
    up, down = integral(1, 0.0, reach[1]) / whole, integral(1, reach[0], 0.0) / whole
    wins = integral(0, 0.0, reach[1]) / whole
    found = posterior(effect, se, prior_mean=prior_mean, prior_sd=prior_sd, is_higher_better=is_higher_better)
    assert found.mean == pytest.approx(up - down, rel=1e-7, abs=1e-9)
    assert found.sd**2 == pytest.approx(integral(2) / whole - found.mean**2, rel=1e-6)
    assert found.chance_to_win == pytest.approx(wins if is_higher_better else 1 - wins, rel=1e-6, abs=1e-9)
    losses = (down, up) if is_higher_better else (up, down)
    assert (found.expected_loss_treatment, found.expected_loss_control) == pytest.approx(
        losses, rel=1e-6, abs=1e-9
    )


def test_posterior_known_precisions_add() -> None:
    found = posterior(4.0, 1.0, prior_mean=1.0, prior_sd=0.5)
    assert (found.mean, found.sd) == pytest.approx(((4 * 1 + 1 * 4) / 5, math.sqrt(1 / 5)))


def test_posterior_flat_prior_is_the_estimate() -> None:
    found = posterior(1.96, 1.0, prior_sd=math.inf)
    assert (found.mean, found.sd) == (1.96, 1.0)
    assert found.chance_to_win == pytest.approx(stats.norm.cdf(1.96))


@pytest.mark.parametrize(
    ("se", "prior_sd"), [(1e-200, 1.0), (1.0, 1e-200), (1e200, 1.0), (1.0, 1e200), (1e-5, 1e-5)]
)
def test_posterior_extreme_scales_stay_numbers(se: float, prior_sd: float) -> None:
    found = posterior(0.5, se, prior_sd=prior_sd)
    assert 0 <= found.mean <= 0.5
    assert 0 < found.sd <= min(se, prior_sd)
    assert 0.5 <= found.chance_to_win <= 1
    assert 0 <= found.expected_loss_treatment <= found.expected_loss_control


@pytest.mark.parametrize(
    ("effect", "se", "prior_mean", "prior_sd"),
    [
        (math.nan, 1, 0, 1),
        (0, 0, 0, 1),
        (0, math.inf, 0, 1),
        (0, 1, math.inf, 1),
        (0, 1, 0, 0),
        (0, 1, 0, math.nan),
    ],
)
def test_posterior_impossible_inputs_are_refused(
    effect: float, se: float, prior_mean: float, prior_sd: float
) -> None:
    with pytest.raises(ValueError, match="prior"):
        posterior(effect, se, prior_mean=prior_mean, prior_sd=prior_sd)
