"""The command line: `scrinia`."""
