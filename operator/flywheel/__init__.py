"""Flywheel: marketing campaigns as code on Kubernetes."""
