"""REST calls about monitors and incidents."""
