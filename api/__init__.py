"""How the registry is reached: HTTP and the command line."""
