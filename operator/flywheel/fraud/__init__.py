"""Fraud rules: what is judged, the exact windows it is judged by, and what is done about it."""
