"""The ledger on SQLite: one file."""
