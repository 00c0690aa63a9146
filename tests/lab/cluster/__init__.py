"""The lab: a real Kubernetes with one node, in namespaces and a cgroup of its own. Needs only Python's standard library."""
