"""Fraud rules: events are judged as they come, by exact windows, and whoever breaks a rule is refused at the edge."""
