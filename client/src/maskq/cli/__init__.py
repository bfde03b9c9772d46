"""The command line: `maskq`. One module of `commands` for each command."""
