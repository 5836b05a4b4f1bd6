"""How the registry is extended. So far: importers, found by entry point."""
