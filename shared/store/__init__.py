"""The truth about every job, in Redis.

`moves/` holds one Lua script for each move of a job, so a crash leaves the job before the move or after it, never
between. `submissions` is the front end's side (async), `leases` the workers' side (sync), `deliveries` that of
webhooks; `keys` names every key.
"""
