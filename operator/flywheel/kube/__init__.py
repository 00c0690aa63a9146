"""The one gateway to the API server: JSON objects in, JSON objects out. Nothing else imports the Kubernetes client."""
