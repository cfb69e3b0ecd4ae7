"""bin/manage monitors: what is typed, what is done, and what is said."""
