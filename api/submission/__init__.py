"""From an HTTP request to a validated submission: the form, the image behind a URL, every field."""
