from prometheus_client import Counter, Histogram

# Labels are keys of our own rows, so a client cannot make new series.
ASSIGNMENTS = Counter(
    "triageops_assignments_total",
    "Units that got their variant for the first time.",
    ["experiment", "variant"],
)
TRANSITIONS = Counter(
    "triageops_experiment_transitions_total", "Changes of state of experiments.", ["experiment", "action"]
)
LOOKS = Counter(
    "triageops_looks_total", "Analyses of experiments, by what was decided.", ["experiment", "decision"]
)
LOOK_SECONDS = Histogram(
    "triageops_look_seconds",
    "How long one analysis takes.",
    buckets=(0.05, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
