"""A/B tests: what the figures of each variant say, how sure that is, and what follows from it."""
