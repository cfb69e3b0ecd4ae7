"""How many units an experiment needs, and how long that takes, from how this product's own units behaved.

Begin with plan.py. behaviour.py says how units behaved, from a sample of them (sampling.py) that the experiment could
take in (population.py), by the arithmetic of moments.py.
"""

from experiments.planning.behaviour import Behaviour, TooLittle, behaviour
from experiments.planning.notes import design_effect_note, population_notes
from experiments.planning.plan import Curve, Needed, Plan, plan, planned_units
from experiments.planning.population import Population

__all__ = [
    "Behaviour",
    "Curve",
    "Needed",
    "Plan",
    "Population",
    "TooLittle",
    "behaviour",
    "design_effect_note",
    "plan",
    "planned_units",
    "population_notes",
]
