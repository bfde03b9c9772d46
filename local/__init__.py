"""The service on one machine, and the commands of its operator. The shell commands in scripts/ run these modules."""
