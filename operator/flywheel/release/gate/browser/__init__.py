"""The browser gate: what a visit shall be, the visit with a real Chromium, and the pod in which it takes place."""
