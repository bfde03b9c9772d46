"""What applies to every request and answer: limits, errors, access log, request metrics, the OpenAPI document."""
