"""From one service of a spec to the Kubernetes objects that run it."""
