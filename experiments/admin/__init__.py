"""Experiments and assignments as people see them; importing registers it."""

from experiments.admin.assignments import AssignmentAdmin
from experiments.admin.experiments import ExperimentAdmin

__all__ = ["AssignmentAdmin", "ExperimentAdmin"]
