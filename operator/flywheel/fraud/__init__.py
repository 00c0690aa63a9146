"""Fraud: events are judged as they come, and whoever breaks a rule is refused at the edge."""
