"""From an HTTP request to a validated submission: the body, the fields, the image behind a URL."""
