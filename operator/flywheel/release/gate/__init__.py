"""Gates: the checks that must pass before, or just after, a revision takes the traffic."""
