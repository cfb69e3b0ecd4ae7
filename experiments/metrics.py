from prometheus_client import Counter

# Labels are keys of our own rows, so a client cannot make new series.
ASSIGNMENTS = Counter(
    "triageops_assignments_total",
    "Units that got their variant for the first time.",
    ["experiment", "variant"],
)
TRANSITIONS = Counter(
    "triageops_experiment_transitions_total", "Changes of state of experiments.", ["experiment", "action"]
)
