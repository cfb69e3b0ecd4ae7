"""Texts that an admin writes, in a sandbox."""
