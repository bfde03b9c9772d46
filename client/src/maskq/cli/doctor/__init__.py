"""Examines a service as a client meets it. One module for each subject."""
