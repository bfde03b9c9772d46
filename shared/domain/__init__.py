"""What a job, its prompt, its result and its webhook are. No input, no output."""
