-- A job as it is, and what one needs to say when to come back. Changes nothing.
-- ARGV  id
-- Returns what `job_state` says.

return job_state(ARGV[1])
