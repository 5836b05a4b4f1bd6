"""Read models on SQLite: a file of their own, so that they never wait for the ledger's lock."""
