"""bin/manage alerts: one file for each word."""
