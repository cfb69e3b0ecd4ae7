"""Whole definitions: a draft of one, an edit, a copy, a document to keep."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from experiments import audit
from experiments.audit import EDIT, Actor, Change, changing, person, snapshot
from experiments.drafts.parts import differing_parts, set_parts
from experiments.drafts.settings import FIELDS, check_allowed, check_times, clean, set_fields
from experiments.drafts.values import check_document
from experiments.models import Experiment, State
from triageops.rest import Conflict, InvalidInput

FORMAT = "triageops.experiment/1"
_EDITABLE = tuple(state for state in State if state != State.ARCHIVED)


class KeyTaken(Conflict):
    """An experiment with this key exists."""

    type = "experiment-exists"
    title = "There is such an experiment already"


def create(key: str, definition: Mapping[str, Any], *, by: Actor, now: datetime) -> Experiment:
    """A draft. `definition` has some of FIELDS, `owner` (a username; else who makes it), `layer` (a key) and PARTS.

    Raises InvalidInput or KeyTaken.
    """
    check_document(definition)
    experiment = Experiment(key=key, owner=person(by))
    try:
        with transaction.atomic():
            check_times(experiment, set_fields(experiment, definition), now)
            clean(experiment)
            experiment.save(force_insert=True)
            set_parts(experiment, definition)
            audit.write(Change(experiment), "create", by=by, now=now, reason="", before={})
    except IntegrityError as error:
        if "experiments_experiment_key" in str(error):
            raise KeyTaken(
                f"There is an experiment {key!r}.", field="key", fix="Choose another key."
            ) from None
        raise
    return experiment


def edit(
    experiment: Experiment, definition: Mapping[str, Any], *, by: Actor, now: datetime, reason: str = ""
) -> Experiment:
    """Change a draft, or of a started experiment LATER_FIELDS and the owner. Parts that are given replace the former ones.

    What the definition says as it is already counts as not said, so that all that was read can be sent back with one
    change; without any, nothing is written and the version stays. Raises InvalidInput, InvalidTransition, NeedsReview or Changed.
    """
    check_document(definition)
    with changing(experiment, EDIT, by=by, now=now, reason=reason, sources=_EDITABLE) as change:
        one = change.experiment
        changed = set_fields(one, definition)
        if not one.is_draft:
            changed |= differing_parts(one, definition)
        check_allowed(one, changed)
        check_times(one, changed, now)
        clean(one, changed)
        if one.is_draft:
            set_parts(one, definition)
    return change.experiment


def clone(experiment: Experiment, key: str, *, by: Actor, now: datetime) -> Experiment:
    """A draft with the same definition, and a salt of its own: who was in which variant does not repeat."""
    return create(key, exported(experiment)["definition"], by=by, now=now)


def exported(experiment: Experiment) -> dict[str, Any]:
    """The definition as JSON, which `imported` takes; without what happened to it."""
    found = snapshot(experiment)
    definition: dict[str, Any] = {name: found[name] for name in FIELDS if name in found}
    definition["layer"] = found["layer"]
    definition["variants"] = [
        {name: one[name] for name in ("key", "is_control", "weight_bp", "config")}
        for one in found["variants"]
    ]
    definition |= {"metrics": found["metrics"], "ramp": found["ramp"]}
    # As it was defined: the ramp took the coverage further.
    first = experiment.epochs.order_by("number").first()
    if first is not None:
        definition["coverage_bp"] = first.coverage_bp
    # Times belong to one run of it.
    for name in ("planned_end_at", "starts_at", "stops_at"):
        definition.pop(name)
    return {"format": FORMAT, "key": experiment.key, "definition": definition}


def imported(document: Mapping[str, Any], *, by: Actor, now: datetime, key: str = "") -> Experiment:
    """A draft of an exported definition, under `key` or its own. Raises InvalidInput or KeyTaken."""
    if document.get("format") != FORMAT:
        raise InvalidInput(
            "This is no exported experiment.",
            field="format",
            fix=f'Send a document with "format": "{FORMAT}".',
        )
    definition = document.get("definition")
    if not isinstance(definition, dict):
        raise InvalidInput("The definition is missing.", field="definition", fix="Send the whole document.")
    own = document.get("key", "")
    if not key and not isinstance(own, str):
        raise InvalidInput("The key is not text.", field="key", fix="Send the key as a JSON string.")
    return create(key or str(own), definition, by=by, now=now)
