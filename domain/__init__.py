"""What a prompt registry is: aggregates, events, rules. Pure: no IO, no clock, no environment."""
