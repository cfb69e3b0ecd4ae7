"""Definitions as data: made, edited while a draft, copied, exported and imported; admin and REST call the same functions.

Begin with documents.py; settings.py sets the fields of the experiment, parts.py its variants, metrics and ramp.
"""

from experiments.drafts.documents import FORMAT, KeyTaken, clone, create, edit, exported, imported
from experiments.drafts.parts import PARTS
from experiments.drafts.settings import FIELDS, LATER_FIELDS, READ_ONLY, REVIEWED_FIELDS

__all__ = [
    "FIELDS",
    "FORMAT",
    "LATER_FIELDS",
    "PARTS",
    "READ_ONLY",
    "REVIEWED_FIELDS",
    "KeyTaken",
    "clone",
    "create",
    "edit",
    "exported",
    "imported",
]
