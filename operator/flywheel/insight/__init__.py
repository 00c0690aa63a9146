"""What the events say: key figures, dashboards and alerts."""
