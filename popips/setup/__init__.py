"""popips-db setup: makes Dovecot, the MTA and the timer use popips, and takes that back."""
