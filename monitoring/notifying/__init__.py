"""Who is told of an incident, when, by which route, and in which words."""
