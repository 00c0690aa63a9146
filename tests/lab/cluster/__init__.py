"""The lab: a real Kubernetes with one node, in namespaces and a cgroup of its own. Pure standard library."""
