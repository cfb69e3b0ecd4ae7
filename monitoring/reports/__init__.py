"""What other systems say of incidents."""
