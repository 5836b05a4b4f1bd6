"""How events are signed, appended, followed and proven."""
