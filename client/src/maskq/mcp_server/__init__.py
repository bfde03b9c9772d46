"""A server of the Model Context Protocol (MCP): agents cut objects out of images with a maskq service."""
