"""From a row to a receiver: leases, calls, attempts, next ones, reminders, and the audit of it all."""
