"""The evidence of an incident as a file, and whether it is as it was written."""
