"""The command line. `polos.cli.entry` is where it begins; typer, rich and watchfiles come with the extra `cli`."""
