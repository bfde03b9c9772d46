-- Reads a job, and what an estimate of its end needs. Changes nothing.
---@param id string
---@param with_result boolean
-- Returns what `job_state` in common.lua returns.

return job_state(args.id, args.with_result)
