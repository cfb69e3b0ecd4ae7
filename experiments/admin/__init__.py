"""Experiments and all around them as people see them; importing registers it."""

from experiments.admin.assignments import AssignmentAdmin
from experiments.admin.experiments import ExperimentAdmin
from experiments.admin.layers import HoldoutAdmin, LayerAdmin

__all__ = ["AssignmentAdmin", "ExperimentAdmin", "HoldoutAdmin", "LayerAdmin"]
