"""Business metrics for autoscalers: rates of events and requests, served as external metrics."""
