"""What happened to an incident: its sealed log, its flags, and the locks under which they are written."""
