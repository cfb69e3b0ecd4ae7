"""What pages and calls say of incidents, channels and alerts; nothing is written here."""
