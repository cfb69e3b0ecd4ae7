"""Who is told about what, and when: matchers, the tree of routes, hours, and what an Alertmanager configuration says of them.

Pure: functions of their arguments alone. Begin with tree.py, which walks the routes; matchers.py reads what they ask for.
"""
