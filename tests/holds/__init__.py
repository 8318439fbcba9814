"""What must hold, tried on the installed programs alone: by their words, their environment and their files."""
