"""The ledger on PostgreSQL: schema `scrinia` of one database."""
