"""The campaign's entry: HAProxy as data plane, and the sidecar that keeps it as the operator says."""
