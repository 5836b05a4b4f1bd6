"""What can be asked, and who is told: folds of the ledger that can be thrown away and rebuilt."""
