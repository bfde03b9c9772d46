"""Every figure the README quotes comes from a program here."""
