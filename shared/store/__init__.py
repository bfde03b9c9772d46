"""All jobs and webhooks, in Redis.

Each script in `scripts/` is one atomic step: a crash leaves a job before a transition or after it, never between.
`submissions` is for front ends (async), `leases` for workers (sync), `deliveries` for webhooks.
"""
