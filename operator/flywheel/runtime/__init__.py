"""The running operator: what it has seen, what is to be done, who may do it, and how it is doing."""
